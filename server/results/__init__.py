"""What a run writes: result.json, its counts, and the table of models by sites."""

from common.renamed import attributes

__getattr__ = attributes(__name__)
