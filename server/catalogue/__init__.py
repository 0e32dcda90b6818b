"""What partners offer, kept and shown by the coordinator: entries, signed listing, packages."""

from common.renamed import attributes

__getattr__ = attributes(__name__)
