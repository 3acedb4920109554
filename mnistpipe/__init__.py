"""Fast, reproducible image augmentation, and four MNIST recipes on it."""

__version__ = "0.1.0"
