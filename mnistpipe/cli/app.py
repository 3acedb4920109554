"""How a binary runs: flags, ``--help``, one line per error, exit statuses."""

import functools
import io
import logging
import sys
from collections.abc import Callable, Sequence

from absl import app as absl_app
from absl import flags as absl_flags
from absl import logging as absl_logging

from mnistpipe import extras
from mnistpipe.cli import flags, help
from mnistpipe.errors import INTERRUPTED, UserError

_HELP = {"--help", "-help", "-h", "--helpshort", "-helpshort", "-?", "--?"}


def run(
    main: Callable[[list[str]], int | None],
    *,
    extra: str = "",
    files: bool = False,
) -> None:
    """Parses the flags, calls ``main(argv)`` and exits with its status.

    A ``UserError`` becomes one line on stderr and the exit status that the
    error carries. Any other exception is a bug and keeps its traceback.
    ``--help`` prints the project's flags and exits with 0; it needs no extra.

    Args:
      main: the binary's main function.
      extra: the extra that the binary needs, one of `extras.PACKAGES`.
      files: whether arguments that are not flags are allowed.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # An encoding without "±" must not end a program after all its work.
        sys.stdout.reconfigure(errors="replace")
    # absl would show TensorFlow's notes, for example on each export.
    absl_logging.set_verbosity(absl_logging.WARNING)
    # Without a writable home, matplotlib uses a temporary folder and warns.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        absl_app.run(
            main,
            flags_parser=functools.partial(
                _parse_or_help, extra=extra, files=files
            ),
        )
    except UserError as error:
        print(f"error: {_one_line(error)}", file=sys.stderr)
        sys.exit(error.status)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _parse_or_help(argv: Sequence[str], extra: str, files: bool) -> list[str]:
    if _HELP.intersection(argv[1:]):
        print(help.text(flags.known(), absl_flags.FLAGS))
        sys.exit(0)
    if "--helpfull" in argv[1:]:  # absl itself exits with 1
        print(absl_flags.FLAGS.get_help())
        sys.exit(0)
    arguments = flags.parse(argv, files=files)
    extras.check(extra)
    return arguments


def _one_line(error: Exception) -> str:
    """Returns the message in one line, without control characters."""
    line = " ".join(str(error).split())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
