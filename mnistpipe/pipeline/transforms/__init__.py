"""The transforms, one family per module."""
