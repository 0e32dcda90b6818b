"""The catalogue at a site: read and checked (seen), what the site adds to it (offering), the command (commands)."""
