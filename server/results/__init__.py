"""What a run writes: result.json, its counts, and the table of models by sites."""
