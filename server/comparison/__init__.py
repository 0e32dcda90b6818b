"""Several runs beside each other: `python -m server compare`, and the page that it writes."""
