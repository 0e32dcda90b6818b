"""What every side shares: types, errors, configuration, image steps, models, messages."""
