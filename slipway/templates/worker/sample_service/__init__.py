"""sample-service: takes up work again and again."""
