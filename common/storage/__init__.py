"""Files: secrets and JSON replaced as a whole, named arrays, and a run's folder."""
