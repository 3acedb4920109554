"""The table of a network's layers beside the rows of the document."""

from collections.abc import Sequence

from mnistpipe.networks import architectures
from mnistpipe.networks.layers import ShapedLayer
from mnistpipe.recipes import Recipe, documented

_FORM = "{:<15}{:<23}{:>11}{:>9}{:>12}{:>15}{:>10}  {}"


def differences(
    shaped: Sequence[ShapedLayer], table: documented.Table
) -> list[str]:
    """Returns 'differs' for each layer whose documented row differs, or ''."""
    marks = []
    for index, one in enumerate(shaped):
        row = (one.layer.kind, one.shape, one.parameters)
        documented_row = (*table.rows[index : index + 1], row)[0]
        marks.append(_mark(row == documented_row))
    return marks


def text(recipe: Recipe) -> str:
    """Returns the layers of a recipe's network beside the document's rows."""
    table = documented.TABLES[recipe.arch]
    shaped = architectures.infer_shapes(recipe)
    headings = ("layer", "kind", "shape", "params", "mult-adds")
    lines = [recipe.arch, _FORM.format(*headings, "document", "params", "")]
    for index, mark in enumerate(differences(shaped, table)):
        one = shaped[index]
        row: tuple[object, object] = ("", "")
        if index < len(table.rows):
            row = (
                _sizes(table.rows[index].shape),
                table.rows[index].parameters,
            )
        layer = (one.layer.name, one.layer.kind, _sizes(one.shape))
        counts = (one.parameters, one.multiply_adds)
        lines.append(_FORM.format(*layer, *counts, *row, mark).rstrip())
    return "\n".join([*lines, *_totals(shaped, table)])


def _totals(
    shaped: Sequence[ShapedLayer], table: documented.Table
) -> list[str]:
    total = sum(one.parameters for one in shaped)
    fixed = sum(one.non_trainable for one in shaped)
    multiply_adds = sum(one.multiply_adds for one in shaped)
    most = "at most " if table.bound else ""
    good = total == table.parameters or (
        table.bound and total < table.parameters
    )
    parameters = f"parameters {total:,}; document {most}{table.parameters:,}"
    not_trained = f"not trained {fixed:,}"
    if table.non_trainable is not None:
        not_trained += f"; document {table.non_trainable:,}"
        not_trained += f"  {_mark(fixed == table.non_trainable)}"
    lines = [
        f"{parameters}  {_mark(good)}".rstrip(),
        not_trained.rstrip(),
        f"multiply-adds {multiply_adds:,}",
    ]
    return [*lines, f"({table.note})"] if table.note else lines


def _mark(equal: bool) -> str:
    return "" if equal else "differs"


def _sizes(shape: tuple[int, ...]) -> str:
    return ",".join(map(str, shape))
