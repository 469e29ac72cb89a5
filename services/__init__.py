"""The services of this repository, one folder each, and the catalogue that finds them."""
