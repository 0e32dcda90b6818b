"""The coordinator's processes: started in order, restarted when they die, ended together."""

from common.renamed import attributes

__getattr__ = attributes(__name__)
