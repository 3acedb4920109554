"""Endless batches of recipe 1's augmentation by kornia on the CPU."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from benchmark_pictures import NOISE, ROTATION, SHEAR, SHIFT, ZOOM, cores


def kornia(images: np.ndarray, batch_size: int) -> Iterator[object]:
    """Makes batches [B, C, H, W] in [0, 1]; a batch uses all cores."""
    import torch
    from kornia import augmentation

    torch.set_num_threads(cores())
    augment = augmentation.AugmentationSequential(
        augmentation.RandomAffine(
            degrees=ROTATION,
            translate=(SHIFT, SHIFT),
            shear=SHEAR,
            scale=(1 - ZOOM, 1 + ZOOM),
            padding_mode="border",
            p=1.0,
        ),
        augmentation.RandomGaussianNoise(std=NOISE, p=1.0),
    )
    tensor = torch.from_numpy(np.moveaxis(images, -1, 1).copy())
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        while True:
            rows = torch.randint(
                len(images), (batch_size,), generator=generator
            )
            yield augment(tensor[rows].float() / 255)
