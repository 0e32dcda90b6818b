"""What command lines share: subcommands that teach, progress with time left, logs, the picture of a run."""
