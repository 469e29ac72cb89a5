"""order-service: the orders of known users."""
