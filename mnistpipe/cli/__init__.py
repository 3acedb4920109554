"""The command line: recipes and options as absl flags, errors as one line."""
