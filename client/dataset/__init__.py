"""From a configuration to cases: found, read, divided into sites and parts, prepared. `loading` is read first."""

from common.renamed import attributes

__getattr__ = attributes(__name__)
