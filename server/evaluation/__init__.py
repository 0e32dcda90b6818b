"""Finished models on every site's validation cases, as sums; nothing is trained."""

from common.renamed import attributes

__getattr__ = attributes(__name__)
