"""What every update must obey: the rules, and the three places that ask them."""
