"""A recipe's augmentation, as one pipeline.Compose.

Takes uint8 pixels 0…255 and gives float32 of about 0…1: noise comes after the
rescaling, in its units, and is not clipped. `.deterministic()` is what
validation and test pictures get.
"""

from mnistpipe import pipeline
from mnistpipe.recipes import Recipe


def compose(recipe: Recipe) -> pipeline.Compose:
    """What the recipe asks for; transforms of no strength are left out."""
    transforms: list[pipeline.Transform] = [pipeline.Rescale(1 / 255)]
    moves = {
        "rotation": recipe.rotation,
        "width_shift": recipe.width_shift,
        "height_shift": recipe.height_shift,
        "shear": recipe.shear,
        "zoom": recipe.zoom,
        "horizontal_flip": recipe.horizontal_flip,
        "vertical_flip": recipe.vertical_flip,
    }
    if any(moves.values()):
        # First, on the uint8 pixels: that is the cheapest warp.
        transforms.insert(
            0, pipeline.RandomAffine(**moves, fill_mode=recipe.fill_mode)
        )
    if recipe.noise:
        transforms.append(pipeline.GaussianNoise(recipe.noise))
    return pipeline.Compose(transforms)
