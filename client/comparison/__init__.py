"""What a federated model is worth at this hospital, beside one trained here alone."""
