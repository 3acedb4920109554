"""What a user can cause: one line of text and an exit status, no traceback."""


class UserError(ValueError):
    """Wrong input; the message is one line: expected, got, what exists.

    ``status`` is the exit status that a binary ends with: 1, or 2 where the
    command line itself is wrong.
    """

    status = 1


class UsageError(UserError):
    """The command line or a flagfile cannot be read as flags."""

    status = 2
