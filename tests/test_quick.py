"""The shortest way to a good network: flags/quick.cfg itself, on few images."""

import pathlib

import helpers
import pytest

from mnistpipe.networks import models
from mnistpipe.recipes import RECIPES, flagfiles
from mnistpipe.training import train

FLAGFILE = pathlib.Path(__file__).parents[1] / "flags" / "quick.cfg"


@pytest.mark.slow
def test_quick_learns_from_a_tenth(tmp_path):
    """The whole recipe, its rates too, on 6,000 images beside 1,000 others."""
    recipe, _ = flagfiles.read(str(FLAGFILE))
    assert recipe == RECIPES["quick65k"]
    digits = helpers.few_digits(7000, 1000)
    options = helpers.quick_options(
        tmp_path, train_examples=6000, validation_size=1000
    )
    metrics = train.train(recipe, options, digits)
    assert metrics.epochs_run == recipe.epochs
    # Seed 2 has 98.5 %; an untrained network has some 10 %.
    assert metrics.test_accuracy > 0.95
    kept = models.load(tmp_path / metrics.weights)
    assert helpers.accuracy(kept, digits.test) == metrics.test_accuracy
