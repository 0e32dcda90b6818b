"""The one way in from outside: which requests reach the coordinator and Flower's SuperLink, and who may make them."""

from common.renamed import attributes

__getattr__ = attributes(__name__)
