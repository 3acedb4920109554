"""A recipe's augmentation, as one pipeline.Compose.

The pipeline takes uint8 pixels 0…255 and returns float32 of about 0…1. Noise is
added after the rescaling, in the units of the result, and not clipped.
Validation and test pictures get `compose(recipe).deterministic()`.
"""

from typing import Any

from mnistpipe import pipeline
from mnistpipe.recipes import Recipe

# A share of the picture's area, from Zhong et al. 2017, "Random erasing".
_SMALLEST_ERASED = 0.02


def compose(recipe: Recipe) -> pipeline.Compose:
    """Returns the recipe's transforms; those of strength 0 are left out."""
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
        # The warp is first, because it is cheapest on uint8 pixels.
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
