"""What travels between coordinator and site: requests, replies, their bytes, and the layout of masked answers."""
