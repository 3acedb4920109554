"""Prints each network's layers beside the rows of the document.

python -m mnistpipe.models [--arch=pool2m]
"""

from absl import flags as absl_flags

from mnistpipe.cli import app, flags
from mnistpipe.networks import table
from mnistpipe.recipes import ARCHS, Recipe, recipe_for


def main(argv: list[str]) -> None:
    """Prints the table of one network, or of all networks."""
    del argv
    given = absl_flags.FLAGS
    for arch in [given.arch] if given.arch else ARCHS:
        # Only strided400k has a choice of stems.
        chosen = given.arch or arch == "strided400k"
        stem = given.stem if chosen and given.stem else "printed"
        recipe = recipe_for(arch).replace(stem=stem)
        print(table.text(recipe), end="\n\n")


if __name__ == "__main__":
    flags.define(Recipe, ("arch", "stem"))
    app.run(main)
