"""user-service: the people who may place orders."""
