"""Fixtures that every test may use."""

import os

# Before anything imports TensorFlow: its start-up lines hide the results.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pytest


@pytest.fixture
def rng(request) -> np.random.Generator:
    """Random numbers of this test; MNISTPIPE_TEST_SEED=n for others.

    The seed is printed, and pytest shows what a failing test has printed.
    """
    seed = int(os.environ.get("MNISTPIPE_TEST_SEED", "1"))
    print(f"seed of {request.node.name}: MNISTPIPE_TEST_SEED={seed}")
    return np.random.default_rng(seed)
