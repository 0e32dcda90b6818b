"""The pretrained encoders that this machine has, for plans and configurations with a step `embed`."""
