"""A run's life at the coordinator: its folder and state, who drives and schedules it, and what people see of it."""

from common.renamed import attributes

__getattr__ = attributes(__name__)
