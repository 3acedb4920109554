"""The documented scores, and the documented layer tables, row by row.

The tables have no row for the input. The note of a table that the document does
not print in full says where the table ends. Totals marked † are completed by
this project.
"""

from dataclasses import dataclass
from typing import NamedTuple

# Percent. The first score is of MNIST's 10,000 test images; the document does
# not say how its epoch was chosen. The second score is of a private set.
SCORES = {
    "strided400k": (99.72, 98.93),
    "pool2m": (99.65, 98.81),
    "compact500k": (99.79, 98.79),
    "wide900k": (99.63, 98.79),
}


class Row(NamedTuple):
    """One row of a documented table; the shape is without the batch."""

    kind: str
    shape: tuple[int, ...]
    parameters: int


@dataclass(frozen=True)
class Table:
    """The documented facts about one architecture.

    Attributes:
      rows: the printed rows, from the first layer on.
      parameters: the documented number of parameters.
      bound: whether that number is an upper bound.
      non_trainable: the documented number of parameters that are not
        trained, or None.
      note: what the document leaves out.
    """

    rows: tuple[Row, ...]
    parameters: int
    bound: bool = False
    non_trainable: int | None = None
    note: str = ""


TABLES = {
    "strided400k": Table(
        rows=(
            Row("Conv2D", (26, 26, 32), 128),
            Row("BatchNormalization", (26, 26, 32), 128),
            Row("Conv2D", (24, 24, 32), 9216),
            Row("BatchNormalization", (24, 24, 32), 128),
            Row("Conv2D", (12, 12, 32), 25632),
            Row("Dropout", (12, 12, 32), 0),
            Row("Conv2D", (10, 10, 64), 18432),
            Row("BatchNormalization", (10, 10, 64), 256),
            Row("Conv2D", (8, 8, 64), 36864),
            Row("BatchNormalization", (8, 8, 64), 256),
            Row("Conv2D", (4, 4, 64), 102464),
            Row("Dropout", (4, 4, 64), 0),
            Row("Conv2D", (2, 2, 128), 204928),
            Row("Flatten", (512,), 0),
            Row("Dense", (10,), 5130),
        ),
        parameters=403_562,
        note="a 3x3 stem has 288 parameters in its first row, 403722 in all",
    ),
    "pool2m": Table(
        rows=(),
        parameters=2_213_610,  # † the document says "2.2m"
        note="no rows are printed; the total is that of the completed network",
    ),
    "compact500k": Table(
        rows=(),
        parameters=500_000,
        bound=True,
        note="no rows are printed; the network is this project's own",
    ),
    "wide900k": Table(
        rows=(
            Row("Conv2D", (28, 28, 32), 832),
            Row("Conv2D", (28, 28, 32), 25632),
            Row("MaxPooling2D", (14, 14, 32), 0),
            Row("Dropout", (14, 14, 32), 0),
            Row("Conv2D", (14, 14, 64), 18496),
            Row("Conv2D", (14, 14, 64), 36928),
            Row("MaxPooling2D", (7, 7, 64), 0),
            Row("Dropout", (7, 7, 64), 0),
            Row("Flatten", (3136,), 0),
        ),
        parameters=887_530,  # † the table ends at Flatten
        non_trainable=0,
        note="the printed rows end at Flatten; the total is that of the"
        " completed network",
    ),
    "quick65k": Table(
        rows=(),
        parameters=64_794,
        note="not in the document; the network is this project's own",
    ),
}
