"""Errors that a user can cause, with their exit statuses."""

INTERRUPTED = 130  # the status that a shell reports after Ctrl-C


class UserError(ValueError):
    """Wrong input. The message is one line: expected, got, what exists.

    A binary ends with ``status``: 1, or 2 if the command line itself is wrong.
    """

    status = 1


class UsageError(UserError):
    """The command line or a flagfile cannot be read as flags."""

    status = 2
