"""Plans that a consortium's roots sign, sites' decisions on them, and what an evaluation declares and publishes."""

from common.renamed import attributes

__getattr__ = attributes(__name__)
