"""What partners offer, kept and shown by the coordinator: entries, signed listing, packages."""
