"""How good a model is, as counts that add up over sites; intervals, calibration, out-of-distribution distances."""
