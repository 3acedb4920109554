"""Pictures of every transform for docs/transforms.md, made by `preview`.

A sheet has a cell for each transform: the untouched picture and three draws.
"""

import io
import math
import pathlib
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw

from mnistpipe import data, pipeline
from mnistpipe.pipeline.transform import Transform

SIDE = 48  # pixels
DRAWS = 3
_ACROSS = 3  # cells of a sheet
_COLORS = 96

SHEETS: dict[str, list[Transform]] = {
    "geometry": [
        pipeline.RandomAffine(rotation=25, zoom=0.2, horizontal_flip=True),
        pipeline.RandomResizedCrop(SIDE, scale=(0.2, 0.8)),
        pipeline.RandomCrop(SIDE - 16),
        pipeline.CenterCrop(SIDE - 16),
        pipeline.Resize((SIDE, SIDE // 2)),
        pipeline.Pad(8, "reflect"),
        pipeline.RandomPerspective(),
        pipeline.GridDistortion(strength=0.6),
        pipeline.ElasticDistortion(alpha=40, sigma=4),
        pipeline.StrokeThickness(3.0),
        pipeline.RandomErasing(fill="noise"),
    ],
    "values": [
        pipeline.Brightness(0.6),
        pipeline.Contrast((0.3, 2.0)),
        pipeline.ChannelShift(80, per_channel=True),
        pipeline.Gamma((0.4, 2.5)),
        pipeline.ColorJitter(0.4, 0.4, 0.4, 0.1),
        pipeline.Saturation((0.0, 3.0)),
        pipeline.Hue(0.5),
        pipeline.Grayscale(probability=0.6),
        pipeline.Invert(probability=0.6),
        pipeline.Solarize((60, 200)),
        pipeline.Posterize((1, 3)),
        pipeline.AutoContrast(probability=0.6),
        pipeline.Equalize(probability=0.6),
        pipeline.GaussianNoise(30.0),
        pipeline.Sharpness((0.0, 6.0)),
        pipeline.GaussianBlur((0.5, 3.0)),
    ],
    "choices": [
        pipeline.OneOf([pipeline.Invert(), pipeline.RandomAffine(rotation=45)]),
        pipeline.SomeOf(
            [
                pipeline.Hue(0.5),
                pipeline.GaussianNoise(30.0),
                pipeline.RandomAffine(rotation=45),
            ],
            count=2,
        ),
        pipeline.RandAugment(n=2, magnitude=15),
        pipeline.TrivialAugmentWide(),
        pipeline.AugMix(severity=10),
    ],
}
# A picture of these shows nothing that the text does not say.
WITHOUT_PICTURE = {
    "Apply",
    "FeaturewiseNormalize",
    "Rescale",
    "SamplewiseNormalize",
    "ZCAWhitening",
}


def scene() -> np.ndarray:
    """Draws a house, a tree and the sun, uint8 [1, SIDE, SIDE, 3]."""
    scale = 4  # drawn larger, so that edges are smooth
    size = SIDE * scale
    sky = np.linspace((90, 150, 230), (200, 225, 250), size)
    colors = np.repeat(sky[:, np.newaxis], size, axis=1).astype(np.uint8)
    image = Image.fromarray(colors)
    pen = ImageDraw.Draw(image)

    def at(*places: tuple[float, float]) -> list[tuple[float, float]]:
        return [(x * size, y * size) for x, y in places]

    pen.rectangle(at((0, 0.7), (1, 1)), fill=(90, 150, 70))
    pen.ellipse(at((0.06, 0.06), (0.26, 0.26)), fill=(250, 210, 60))
    pen.rectangle(at((0.3, 0.45), (0.68, 0.82)), fill=(225, 190, 150))
    pen.polygon(at((0.24, 0.46), (0.49, 0.2), (0.74, 0.46)), fill=(170, 60, 50))
    pen.rectangle(at((0.52, 0.58), (0.62, 0.82)), fill=(100, 70, 50))
    pen.rectangle(at((0.35, 0.54), (0.46, 0.65)), fill=(60, 90, 130))
    pen.rectangle(at((0.83, 0.55), (0.88, 0.85)), fill=(110, 75, 45))
    pen.ellipse(at((0.74, 0.28), (0.97, 0.6)), fill=(40, 110, 50))
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX))[None]


def digit() -> np.ndarray:
    """A digit of MNIST, whose strokes are light, uint8 [1, 28, 28, 1]."""
    return data.load().train.images[:1]


def cell(transform: Transform) -> Image.Image:
    """Previews one transform under its name."""
    stroke = isinstance(transform, pipeline.StrokeThickness)
    images = digit() if stroke else scene()
    name = type(transform).__name__
    figure = pipeline.preview(
        {name: pipeline.Compose([transform])}, images, seed=1, columns=DRAWS
    )
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return Image.open(content).convert("RGB")


def write_sheets(
    folder: pathlib.Path, sheets: Mapping[str, list[Transform]] = SHEETS
) -> None:
    """Writes transforms-<name>.png for each sheet, in few colours."""
    for name, transforms in sheets.items():
        cells = [cell(transform) for transform in transforms]
        width = max(one.width for one in cells) + 16
        height = max(one.height for one in cells) + 10
        down = math.ceil(len(cells) / _ACROSS)
        sheet = Image.new("RGB", (_ACROSS * width, down * height), "white")
        for place, one in enumerate(cells):
            row, column = divmod(place, _ACROSS)
            sheet.paste(one, (column * width, row * height))
        path = folder / f"transforms-{name}.png"
        sheet.quantize(_COLORS).save(path, optimize=True)
