"""A finished run as one signed package with a model card."""
