"""What the demo computes from a drawing: the answers, and where it is saved.

A drawing is uint8 [H, W], [H, W, 3] or [H, W, 4] from a browser. The drawing
takes the same way as a picture in a file: it is stored as PNG and read by the
reader that `evaluate` and `predict` use, so all of them answer alike.
"""

import dataclasses
import datetime
import io
import pathlib
import tempfile
from collections.abc import Sequence

import numpy as np
from PIL import Image

from mnistpipe.data import folders
from mnistpipe.errors import UserError
from mnistpipe.evaluation.prediction import Predictor

MAX_SIDE = 4096  # pixels of a drawing; a browser's canvas has some 500


class DrawingError(UserError):
    """A drawing or a label that cannot be used; one line for the user."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the networks say about one drawing.

    Attributes:
      shown: the picture that the networks are shown, uint8 [H, W, C].
      probabilities: of each network, float64 [networks, classes].
      steady: of each network, the share of augmented versions with the same
        answer; None where a recipe augments nothing.
    """

    shown: np.ndarray
    probabilities: np.ndarray
    steady: tuple[float | None, ...]


class Answerer:
    """Answers drawings with several networks that stay in memory.

    Args:
      predictors: one for each run; all take pictures of `shape`.
      shape: (H, W, C) that the networks take.
      class_names: in label order.
      preparation: how pictures in files are brought to the shape, one of
        `folders.NORMALIZED`, `FITTED` and `AS_IT_IS`.
      versions: how many augmented versions show how steady an answer is.
      save_to: folder for saved drawings.
    """

    def __init__(
        self,
        predictors: Sequence[Predictor],
        shape: tuple[int, int, int],
        class_names: Sequence[str],
        preparation: str,
        versions: int,
        save_to: pathlib.Path,
    ) -> None:
        self.predictors = predictors
        self.class_names = tuple(class_names)
        self.versions = versions
        self.save_to = save_to
        self._read = folders.reader("drawing", shape, preparation)

    def answer(self, drawing: np.ndarray) -> Answer:
        """Answers one drawing.

        Raises:
          UserError: the drawing is blank, too large, or not a picture.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "drawing.png"
            path.write_bytes(_png(drawing))
            shown = self._read(path)
        image = shown[np.newaxis]
        answers = [one.probabilities(image)[0] for one in self.predictors]
        steady = [
            self._steadiness(predictor, image, int(answer.argmax()))
            for predictor, answer in zip(self.predictors, answers, strict=True)
        ]
        return Answer(shown, np.stack(answers), tuple(steady))

    def _steadiness(
        self, predictor: Predictor, image: np.ndarray, answer: int
    ) -> float | None:
        if not predictor.augments:
            return None
        found = predictor.augmented(image, self.versions, seed=0)[:, 0]
        return float(np.mean(found.argmax(axis=1) == answer))

    def save(self, drawing: np.ndarray, name: str) -> pathlib.Path:
        """Saves a drawing as PNG in the folder of its class.

        Raises:
          UserError: the name is not a class, or the drawing is not a picture.
        """
        if name not in self.class_names:
            known = ", ".join(self.class_names[:20])
            raise DrawingError(f"label: expected one of {known}")
        content = _png(drawing)
        now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")
        path = self.save_to / name / f"{now}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


def _png(drawing: np.ndarray) -> bytes:
    """Encodes a drawing as PNG on white paper, after checking its size."""
    drawing = np.asarray(drawing)
    sound = (
        drawing.dtype == np.uint8
        and drawing.ndim in (2, 3)
        and (drawing.ndim == 2 or drawing.shape[2] in (3, 4))
        and all(1 <= side <= MAX_SIDE for side in drawing.shape[:2])
    )
    if not sound:
        raise DrawingError(
            f"drawing: expected uint8 pixels of at most {MAX_SIDE}x{MAX_SIDE},"
            f" got {drawing.dtype} of shape {drawing.shape}"
        )
    image = Image.fromarray(drawing)
    if image.mode == "RGBA":
        paper = Image.new("RGBA", image.size, "white")
        paper.alpha_composite(image)
        image = paper.convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
