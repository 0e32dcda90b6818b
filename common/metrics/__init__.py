"""How good a model is, as counts that add up over sites; intervals, calibration, out-of-distribution distances."""

from common.renamed import attributes

__getattr__ = attributes(__name__)
