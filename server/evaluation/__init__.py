"""Finished models on every site's validation cases, as sums; nothing is trained."""
