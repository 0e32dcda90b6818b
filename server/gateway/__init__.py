"""The one door of the coordinator: which requests reach Flower's SuperLink, and who may make them."""

from common.renamed import attributes

__getattr__ = attributes(__name__)
