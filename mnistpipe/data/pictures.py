"""One picture file, brought to MNIST's convention: uint8 [28, 28, 1].

The convention is that of LeCun's page (yann.lecun.com/exdb/mnist) and of LeCun
et al. 1998, "Gradient-based learning applied to document recognition", section
III. Digits are white on black. A digit is scaled with its aspect ratio and
anti-aliased edges until its longer side has 20 pixels. Then it is moved by
whole pixels until its centre of mass is the centre of 28×28. Measured in the
files, the centre of mass is row 14 and column 14, counted from 0, to within
half a pixel, and the longer side is 20 in 69,984 of the 70,000 pictures.

Each step has a function:

    decode       PNG, JPEG, BMP, GIF (first frame), TIFF (first page), PPM
    grey         upright by EXIF, transparency onto white, luma of ITU-R 601,
                 16 bits to 8
    ink          how much each pixel differs from the paper, towards the
                 writing, so that both polarities become white on black
    normalize    cut out, scaled into the box, centred

A 28×28 picture that already follows the convention is returned unchanged. A
picture must hold one digit and nothing else, since lines, frames and specks
would be scaled with the digit. Strokes keep their proportion to the digit, so
the strokes of a thin pen stay thinner than MNIST's.

The bytes of a file and the pixels in its header are bounded before anything is
decoded, which bounds the memory.
"""

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mnistpipe.data.examples import DataError, data_error
from mnistpipe.data.files import damage_as_data_error, open_regular

SIDE = 28
BOX = 20
CENTRE = 14  # row and column of the centre of mass, counted from 0

# Formats that pens, scanners, phones and programs write. Each other format
# would open another decoder to hostile files.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "PPM")
MAX_FILE_BYTES = 1 << 26
# 33 million, more than a phone's usual picture. Such a picture and its copies
# take half a GiB.
MAX_PIXELS = 1 << 25
# A longer side is averaged first, down to 100 boxes of 20 pixels.
_LONGER_SIDE = 2048

# The writing must differ from the paper by this much of 255 to be seen.
_LEAST_CONTRAST = 16
# Shares of the writing's full strength: the edge of the writing, and paper.
_EDGE = 0.25
_PAPER = 0.1


def read_picture(path: Path) -> np.ndarray:
    """Reads a picture and brings it to the convention, uint8 [28, 28, 1].

    Raises:
        DataError: the file is no picture, damaged, too large, or blank.
    """
    try:
        return normalize(read_grey(path))[..., np.newaxis]
    except _BlankError as error:
        expected = "a digit that stands out from its paper"
        raise data_error(path, expected, str(error)) from None


def read_as_is(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """Reads a picture of exactly this height, width and channels, unchanged.

    Only the number of channels is adapted: 1 is grey, 3 is colour.

    Raises:
        DataError: no picture, damaged, or of another size.
    """
    pixels = _with_channels(path, shape[2])
    if pixels.shape != shape:
        height, width, _ = pixels.shape
        expected = f"a picture of {shape[0]}x{shape[1]}, taken as it is"
        raise data_error(path, expected, f"one of {height}x{width}")
    return pixels


def measure(path: Path) -> tuple[int, int, int]:
    """Returns height, width, and 1 for a grey or 3 for a colour picture.

    Raises:
        DataError: no picture, damaged or too large.
    """
    with _decoded(path) as image:
        grey = image.mode in ("1", "L", "LA", "F") or image.mode[0] == "I"
        return image.height, image.width, 1 if grey else 3


def read_fitted(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """Reads a picture and scales the whole of it into H × W, uint8 [H, W, C].

    The aspect ratio is kept, and the picture lies in the middle. The rest has
    the median colour of the picture's border. A picture of the right size is
    not resampled.

    Raises:
        DataError: no picture, damaged or too large.
    """
    from PIL import Image, ImageOps

    height, width, channels = shape
    pixels = _with_channels(path, channels)
    if pixels.shape == shape:
        return pixels
    border = pixels[_border_mask(pixels.shape[:2])]
    colour = tuple(int(value) for value in np.median(border, axis=0))
    fitted = ImageOps.pad(
        Image.fromarray(pixels[..., 0] if channels == 1 else pixels),
        (width, height),
        method=Image.Resampling.BICUBIC,
        color=colour[0] if channels == 1 else colour,
    )
    return np.asarray(fitted).reshape(shape)


def _with_channels(path: Path, channels: int) -> np.ndarray:
    """Decodes a picture into uint8 [H, W, C] of 1 (grey) or 3 channels."""
    if channels not in (1, 3):
        raise data_error(
            path, f"pixels of {channels} channels", "a picture, with 1 or 3"
        )
    if channels == 1:
        return read_grey(path)[..., np.newaxis]
    with _decoded(path) as image:
        if image.mode[0] in "IF":  # 16 bits, which convert would clip
            return np.repeat(_grey(image, path)[..., np.newaxis], 3, axis=2)
        return np.asarray(_opaque(image).convert("RGB"))


def read_grey(path: Path) -> np.ndarray:
    """Decodes a picture into brightness, uint8 [H, W]."""
    with _decoded(path) as image:
        return _grey(image, path)


@contextmanager
def _decoded(path: Path) -> Iterator[Any]:
    """Returns an upright PIL image; Pillow's errors become a DataError."""
    from PIL import Image, ImageOps

    content = _read(path)
    expected = f"a picture ({', '.join(FORMATS)})"
    try:
        # Pillow prints many warnings about unusual files.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                _check_size(image.size, path)
                image.load()
                _check_size(image.size, path)  # a frame may enlarge it
                yield ImageOps.exif_transpose(image)
    except DataError:
        raise
    # The decoders can raise any error on hostile bytes: OSError, ValueError,
    # SyntaxError, struct.error, KeyError, ...
    except Exception as error:
        raise data_error(path, expected, _said(error)) from error


def _read(path: Path) -> bytes:
    with (
        open_regular(path) as file,
        damage_as_data_error(path, "a readable file"),
    ):
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        expected = f"a picture of at most {MAX_FILE_BYTES} bytes"
        raise data_error(path, expected, "a larger file")
    if not content:
        raise data_error(path, "a picture", "an empty file")
    return content


def _check_size(size: tuple[int, int], path: Path) -> None:
    width, height = size
    if not 1 <= width * height <= MAX_PIXELS:
        expected = f"a picture of at most {MAX_PIXELS} pixels"
        raise data_error(path, expected, f"one of {height}x{width}")


def _said(error: Exception) -> str:
    if type(error).__name__ == "UnidentifiedImageError":
        return "a file of another kind"  # Pillow's message names a BytesIO
    text = " ".join(str(error).split())[:200]
    return text or type(error).__name__


def _grey(image: Any, path: Path) -> np.ndarray:
    if image.mode.startswith("I"):
        return _eight_bits(np.asarray(image), path)
    if image.mode == "F":
        expected = "pixels that are whole numbers"
        raise data_error(path, expected, "floating-point pixels")
    return np.asarray(_opaque(image).convert("L"))


def _eight_bits(pixels: np.ndarray, path: Path) -> np.ndarray:
    """Converts 16 bits to 8. Pillow's own conversion would clip at 255."""
    low, high = int(pixels.min()), int(pixels.max())
    if low < 0 or high > 0xFFFF:
        got = f"values from {low} to {high}"
        raise data_error(path, "pixels of 8 or 16 bits", got)
    return (pixels // 257).astype(np.uint8)


def _opaque(image: Any) -> Any:
    """Puts a transparent picture on white, and white writing on black."""
    from PIL import Image

    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    for paper in ("white", "black"):
        ground = Image.new("RGBA", image.size, paper)
        ground.alpha_composite(image)
        if np.ptp(np.asarray(ground.convert("L"))) >= _LEAST_CONTRAST:
            break
    return ground.convert("RGB")


class _BlankError(Exception):
    """The picture shows nothing."""


def normalize(grey: np.ndarray) -> np.ndarray:
    """Brings brightness, uint8 [H, W], to the convention, uint8 [28, 28]."""
    if keeps_convention(grey):
        return grey
    from PIL import Image

    if max(grey.shape) >= 2 * _LONGER_SIDE:
        factor = max(grey.shape) // _LONGER_SIDE
        grey = np.asarray(Image.fromarray(grey).reduce(factor))
    strength = ink(grey)
    rows, columns = _extent(strength > _EDGE)
    digit = _into_box(strength[rows, columns])
    # Scaling pales thin strokes; MNIST's brightest pixels are 254 or 255.
    return np.rint(_centred(digit) * (255 / digit.max())).astype(np.uint8)


def _into_box(cut: np.ndarray) -> np.ndarray:
    """Scales a cut-out digit, float32 [H, W], to a longer side of 20.

    The shorter side becomes a whole number of pixels too. The digit is not
    stretched to fill that number; the rest is paper.
    """
    from PIL import Image

    scale = BOX / max(cut.shape)
    sides = [max(1, math.ceil(length * scale - 1e-6)) for length in cut.shape]
    margins = [
        max(0.0, (side / scale - length) / 2)
        for side, length in zip(sides, cut.shape, strict=True)
    ]
    around = [math.ceil(margin) for margin in margins]
    padded = Image.fromarray(np.pad(cut, [(n, n) for n in around]))
    first = [n - margin for n, margin in zip(around, margins, strict=True)]
    last = [
        n + length + margin
        for n, length, margin in zip(around, cut.shape, margins, strict=True)
    ]
    # Pillow's filters widen with the reduction, and so avoid aliasing.
    digit = padded.resize(
        sides[::-1],
        Image.Resampling.HAMMING,
        box=(first[1], first[0], last[1], last[0]),
    )
    return np.asarray(digit)


def keeps_convention(grey: np.ndarray) -> bool:
    """Tells whether brightness, uint8 [H, W], follows the convention."""
    if grey.shape != (SIDE, SIDE) or grey.max() < 250:
        return False
    if np.median(_border(grey)) > 0:
        return False
    rows, columns = _extent(grey > 0)
    longer = max(rows.stop - rows.start, columns.stop - columns.start)
    row, column = _centre_of_mass(grey.astype(np.float64))
    off = max(abs(row - CENTRE), abs(column - CENTRE))
    return BOX - 1 <= longer <= BOX and off <= 0.51


def ink(grey: np.ndarray) -> np.ndarray:
    """Returns the strength of the writing, float32 [H, W], 0 (paper) to 1.

    The paper's brightness is the median of the border. The writing is brighter
    or darker than the paper: whichever side has the larger sum of squared
    deviations, since the writing has few pixels that differ much.
    """
    paper = float(np.median(_border(grey)))
    deviation = grey.astype(np.float32) - np.float32(paper)
    brighter = np.maximum(deviation, 0)
    darker = np.maximum(-deviation, 0)
    if float(np.square(darker).sum()) > float(np.square(brighter).sum()):
        brighter = darker
    most = float(brighter.max())
    if most < _LEAST_CONTRAST:
        low, high = int(grey.min()), int(grey.max())
        raise _BlankError(f"brightness from {low} to {high} throughout")
    # The full strength is a quantile, so that one bright speck cannot set it.
    writing = brighter[brighter > most / 2]
    full = float(np.percentile(writing, 90))
    paper_level = _PAPER * full
    strength = (brighter - paper_level) / (full - paper_level)
    return np.clip(strength, 0, 1)


def _border(grey: np.ndarray) -> np.ndarray:
    """Returns the outermost pixels, 1/20 of the shorter side wide."""
    return grey[_border_mask(grey.shape)]


def _border_mask(shape: tuple[int, ...]) -> np.ndarray:
    """Returns True at the outermost pixels, 1/20 of the shorter side wide."""
    width = max(1, min(shape) // 20)
    border = np.ones(shape, bool)
    border[width:-width, width:-width] = False
    return border


def _extent(mask: np.ndarray) -> tuple[slice, slice]:
    """Returns the rows and columns between the outermost that are not empty."""
    slices = []
    for axis in (1, 0):
        places = np.flatnonzero(mask.any(axis=axis))
        slices.append(slice(int(places[0]), int(places[-1]) + 1))
    return slices[0], slices[1]


def _centre_of_mass(strength: np.ndarray) -> tuple[float, float]:
    total = float(strength.sum())
    rows = float(strength.sum(axis=1) @ np.arange(strength.shape[0]))
    columns = float(strength.sum(axis=0) @ np.arange(strength.shape[1]))
    return rows / total, columns / total


def _centred(digit: np.ndarray) -> np.ndarray:
    """Returns the digit, at most 20×20, centred in 28×28 by whole pixels."""
    frame = np.zeros((SIDE, SIDE), np.float64)
    corner = [
        # Only as far as the frame allows: the centre of mass of an L is far
        # from the middle of its box.
        min(max(round(CENTRE - centre), 0), SIDE - length)
        for centre, length in zip(
            _centre_of_mass(digit), digit.shape, strict=True
        )
    ]
    row, column = corner
    frame[row : row + digit.shape[0], column : column + digit.shape[1]] = digit
    return frame
