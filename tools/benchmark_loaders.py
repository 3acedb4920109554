"""Endless batches from a torch DataLoader with a process for each core.

Each maker takes uint8 pictures [N, H, W, C] and a batch size, and gives an
iterator over batches of float32 in [0, 1], as users of these libraries make
them: picture by picture in the processes of the loader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import benchmark_kornia
import benchmark_pictures as given
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler


class _Pictures(Dataset):
    """Pictures in memory, each augmented when it is asked for."""

    def __init__(self, pictures: Any, augment: Callable[[Any], Any]) -> None:
        self.pictures, self.augment = pictures, augment

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, row: int) -> Any:
        return self.augment(self.pictures[row])


def _start(worker: int) -> None:
    """Leaves a process one thread, since every core has a process."""
    torch.set_num_threads(1)
    try:
        import cv2
    except ImportError:
        return
    cv2.setNumThreads(0)


def _loaded(dataset: Dataset, batch_size: int) -> Iterator[Any]:
    sampler = RandomSampler(dataset, replacement=True, num_samples=10**9)
    return iter(
        DataLoader(
            dataset,
            batch_size,
            sampler=sampler,
            num_workers=given.cores(),
            worker_init_fn=_start,
        )
    )


def _torchvision(steps: Callable[[int], list]) -> Callable[..., Iterator[Any]]:
    def make(images: np.ndarray, batch_size: int) -> Iterator[Any]:
        from torchvision.transforms import v2

        augment = v2.Compose(steps(images.shape[1]))
        channels_first = torch.from_numpy(np.moveaxis(images, -1, 1).copy())
        return _loaded(_Pictures(channels_first, augment), batch_size)

    return make


def _albumentations(
    steps: Callable[[int], list], scaled: bool = False
) -> Callable[..., Iterator[Any]]:
    def make(images: np.ndarray, batch_size: int) -> Iterator[Any]:
        import albumentations

        compose = albumentations.Compose(steps(images.shape[1]))

        def augment(image: np.ndarray) -> np.ndarray:
            if scaled:  # noise keeps fractions of 8-bit levels, as elsewhere
                image = image.astype(np.float32) / 255
            return compose(image=image)["image"]

        return _loaded(_Pictures(images, augment), batch_size)

    return make


def _torchvision_recipe_1(size: int) -> list:
    from torchvision.transforms import v2

    return [
        v2.RandomAffine(
            given.ROTATION,
            translate=(given.SHIFT, given.SHIFT),
            scale=(1 - given.ZOOM, 1 + given.ZOOM),
            shear=given.SHEAR,
            interpolation=v2.InterpolationMode.BILINEAR,
        ),
        v2.ToDtype(torch.float32, scale=True),
        v2.GaussianNoise(sigma=given.NOISE, clip=False),
    ]


def _torchvision_crop(size: int) -> list:
    from torchvision.transforms import v2

    return [
        v2.RandomResizedCrop(size),
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(*(given.JITTER,) * 3, given.HUE),
        v2.ToDtype(torch.float32, scale=True),
    ]


def _torchvision_rand_augment(size: int) -> list:
    from torchvision.transforms import v2

    return [
        v2.RandAugment(given.OPERATIONS, given.MAGNITUDE),
        v2.ToDtype(torch.float32, scale=True),
    ]


def _albumentations_recipe_1(size: int) -> list:
    import albumentations as a
    import cv2

    return [
        a.Affine(
            rotate=(-given.ROTATION, given.ROTATION),
            translate_percent=(-given.SHIFT, given.SHIFT),
            shear=(-given.SHEAR, given.SHEAR),
            scale=(1 - given.ZOOM, 1 + given.ZOOM),
            border_mode=cv2.BORDER_REPLICATE,
            p=1,
        ),
        a.GaussNoise(std_range=(given.NOISE, given.NOISE), p=1),
    ]


def _albumentations_crop(size: int) -> list:
    import albumentations as a

    factors = (1 - given.JITTER, 1 + given.JITTER)
    return [
        a.RandomResizedCrop((size, size)),
        a.HorizontalFlip(p=0.5),
        a.ColorJitter(factors, factors, factors, (-given.HUE, given.HUE), p=1),
        a.ToFloat(max_value=255),
    ]


MAKERS: dict[str, dict[str, Callable[..., Iterator[Any]]]] = {
    "recipe 1": {
        "torchvision": _torchvision(_torchvision_recipe_1),
        "albumentations": _albumentations(_albumentations_recipe_1, True),
        # kornia takes whole batches and needs no DataLoader.
        "kornia": benchmark_kornia.kornia,
    },
    "crop, flip, jitter": {
        "torchvision": _torchvision(_torchvision_crop),
        "albumentations": _albumentations(_albumentations_crop),
    },
    # albumentations has no RandAugment.
    "RandAugment": {"torchvision": _torchvision(_torchvision_rand_augment)},
}
