"""A recipe's augmentation, as one pipeline.Compose.

Takes uint8 pixels 0…255 and gives float32 of about 0…1: noise comes after the
rescaling, in its units, and is not clipped. `.deterministic()` is what
validation and test pictures get.
"""

from typing import Any

from mnistpipe import pipeline
from mnistpipe.recipes import Recipe

# Of the picture's area, as in Zhong et al. 2017, "Random erasing".
_SMALLEST_ERASED = 0.02


def compose(recipe: Recipe) -> pipeline.Compose:
    """What the recipe asks for; transforms of no strength are left out."""
    moves: dict[str, Any] = {
        "rotation": recipe.rotation,
        "width_shift": recipe.width_shift,
        "height_shift": recipe.height_shift,
        "shear": recipe.shear,
        "zoom": recipe.zoom,
        "horizontal_flip": recipe.horizontal_flip,
        "vertical_flip": recipe.vertical_flip,
    }
    transforms: list[pipeline.Transform] = []
    if any(moves.values()):
        # First, on the uint8 pixels: that is the cheapest warp.
        transforms.append(
            pipeline.RandomAffine(**moves, fill_mode=recipe.fill_mode)
        )
    if recipe.elastic_alpha:
        transforms.append(
            pipeline.ElasticDistortion(
                recipe.elastic_alpha,
                recipe.elastic_sigma,
                fill_mode=recipe.fill_mode,
            )
        )
    transforms.append(pipeline.Rescale(1 / 255))
    if recipe.erasing:
        transforms.append(
            pipeline.RandomErasing(
                area=(_SMALLEST_ERASED, recipe.erasing_area),
                fill=0.0,
                probability=recipe.erasing,
            )
        )
    if recipe.noise:
        transforms.append(pipeline.GaussianNoise(recipe.noise))
    return pipeline.Compose(transforms)
