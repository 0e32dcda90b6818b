"""A finished run as one signed package with a model card."""

from common.renamed import attributes

__getattr__ = attributes(__name__)
