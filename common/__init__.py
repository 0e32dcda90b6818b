"""What every side shares: types, errors, configuration, image steps, models, and the messages between sites and coordinator."""
