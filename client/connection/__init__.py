"""The line to the coordinator: Flower's Fleet API, spoken by one process for weeks. `node` is read first.

All that knows Flower's inner modules at a site stands here; docs/next-flower.md says what to do when they change.
"""
