"""The promotion of images from one environment to another, and where each image runs."""
