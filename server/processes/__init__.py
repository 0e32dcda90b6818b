"""The coordinator's processes: started in order, restarted when they die, ended together."""
