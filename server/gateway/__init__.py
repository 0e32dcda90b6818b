"""The one door of the coordinator: which requests reach Flower's SuperLink, and who may make them."""
