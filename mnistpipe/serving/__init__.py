"""Finished networks in use: a page to draw on, and exports to other formats."""
