"""Somebody else's step, network, strategy and metric."""
