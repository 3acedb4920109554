"""The networks: their layers, how they are built, saved and read back."""
