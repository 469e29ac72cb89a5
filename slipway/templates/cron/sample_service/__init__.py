"""sample-service: does its work once a night."""
