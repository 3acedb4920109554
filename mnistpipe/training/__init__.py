"""One training, from a recipe to its run folder."""
