"""A hospital's way in: its keys and request, the welcome it pins, and whether it is ready to take part."""
