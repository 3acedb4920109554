"""The command line: flags from declared fields, `--help`, exit statuses."""
