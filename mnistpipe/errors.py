"""Errors that a user can cause: one line of text and an exit status."""


class UserError(ValueError):
    """Wrong input. The message is one line: expected, got, what exists.

    A binary ends with ``status``: 1, or 2 if the command line itself is wrong.
    """

    status = 1


class UsageError(UserError):
    """The command line or a flagfile cannot be read as flags."""

    status = 2
