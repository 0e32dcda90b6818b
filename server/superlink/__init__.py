"""Flower's inner side at the coordinator: the SuperLink's processes, its control API and its database."""

from common.renamed import attributes

__getattr__ = attributes(__name__)
