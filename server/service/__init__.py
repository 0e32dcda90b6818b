"""The coordinator's resident process, `python -m server start`: keeps the others alive, and the runs going."""
