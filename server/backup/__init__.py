"""The coordinator's folder kept elsewhere: one sealed file a backup, restored whole, rehearsed by a drill."""
