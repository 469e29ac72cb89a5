"""sample-service: greets whoever asks."""
