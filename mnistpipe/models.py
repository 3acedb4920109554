"""Prints each network's layers beside the rows of the document.

python -m mnistpipe.models [--arch=pool2m]
"""

from absl import flags as absl_flags

from mnistpipe.cli import app, flags
from mnistpipe.recipes import Recipe


def main(argv: list[str]) -> None:
    """Prints the table of one network, or of all."""
    del argv
    from mnistpipe.networks.models import ARCHS, build, table_text

    given = absl_flags.FLAGS
    arch, stem = given.arch, given.stem or "printed"
    stems = {arch: stem} if arch else {"strided400k": stem}
    for name in [arch] if arch else ARCHS:
        model = build(name, stem=stems.get(name, "printed"))
        print(table_text(model), end="\n\n")


if __name__ == "__main__":
    flags.define(Recipe, ("arch", "stem"))
    app.run(main)
