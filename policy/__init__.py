"""The rules that every update must follow, and the three places that check them."""
