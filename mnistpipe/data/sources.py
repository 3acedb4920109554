"""Where data comes from: the embedded MNIST, `.npz`, IDX files, pictures.

Readers of `.npz` and IDX files return the four arrays of Keras' layout as they
are stored, and `examples.digits_from` checks them. `folders` reads pictures in
files. Only the test examples are read to score finished networks.
"""

import hashlib
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from mnistpipe.data.examples import (
    TEST_ARRAYS,
    Digits,
    Shape,
    Stored,
    TestSet,
    data_error,
    digits_from,
    test_set_from,
)
from mnistpipe.data.files import damage_as_data_error
from mnistpipe.data.folders import (
    NORMALIZED,
    is_picture_folder,
    read_picture_folder,
    read_training_folder,
)
from mnistpipe.data.idx import is_idx_folder, read_idx_folder
from mnistpipe.data.npz import read_npz

# SHA-256 of the original arrays' bytes; MNIST-LICENSE.md lists them too.
MNIST_SHA256 = {
    "x_train": (
        "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757"
    ),
    "y_train": (
        "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13"
    ),
    "x_test": (
        "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161"
    ),
    "y_test": (
        "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5"
    ),
}


def load(path: str | os.PathLike[str] | None = None) -> Digits:
    """Loads a data set: the embedded MNIST, or the user's own data.

    Args:
        path: None for the embedded MNIST; or an `.npz` in Keras' layout
            (x_train, y_train, x_test, y_test); or a folder with the four IDX
            files under MNIST's names, gzipped or not; or a folder of pictures
            with one sub-folder per class, or with such folders in `train`
            and `test` (see `folders`).

    Returns:
        Images uint8 [N, H, W, C] and labels int64 [N], which are checked.

    Raises:
        DataError: one line that names the file, what was expected and what
            was got. No content of the files raises another error.
    """
    if path is None:
        return load_embedded()
    place, name = _place(path)
    if place.is_dir():
        if is_picture_folder(place) and not is_idx_folder(place):
            return read_training_folder(name, place)
        return digits_from(name, read_idx_folder(place))
    return digits_from(name, read_npz(place))


def load_test(
    path: str | os.PathLike[str] | None,
    *,
    shape: Shape = (28, 28, 1),
    class_names: Sequence[str] = tuple("0123456789"),
    preparation: str = NORMALIZED,
) -> TestSet:
    """Loads labelled images to score networks on.

    Args:
        path: as for `load`. Only the test arrays of an .npz file or of IDX
            files are read. A folder of pictures has one sub-folder per class,
            named by the class. If a folder has `train` and `test`, only
            `test` is read.
        shape: (H, W, C) of the networks' input.
        class_names: the names that the networks know, in label order.
        preparation: how pictures in files are brought to the shape, one of
            `folders.NORMALIZED`, `FITTED` and `AS_IT_IS`.

    Raises:
        DataError: one line, as with `load`.
    """
    if path is None:
        digits = load_embedded()
        stored = {
            "x_test": Stored("mnist", digits.test.images),
            "y_test": Stored("mnist", digits.test.labels),
        }
        return test_set_from("mnist", stored, shape, class_names)
    place, name = _place(path)
    if not place.is_dir():
        stored = read_npz(place, TEST_ARRAYS)
    elif is_idx_folder(place):
        stored = read_idx_folder(place, TEST_ARRAYS)
    else:
        if (place / "train").is_dir() and (place / "test").is_dir():
            place = place / "test"
        return read_picture_folder(name, place, shape, class_names, preparation)
    return test_set_from(name, stored, shape, class_names)


def _place(path: str | os.PathLike[str]) -> tuple[Path, str]:
    """Returns the path of a folder or an `.npz` that exists, and its name."""
    wanted = "an .npz file, a folder of IDX files or a folder of pictures"
    if not os.fspath(path):
        raise data_error("data", "a path", "an empty one")
    place = Path(path)
    with damage_as_data_error(place, wanted, ValueError):  # a zero byte
        place.stat()
    # The name as the user wrote it; "." gets the name of its folder.
    full = Path(os.path.abspath(place))
    if place.is_dir():
        return place, full.name
    if place.suffix.lower() != ".npz":
        raise data_error(place, wanted, f"a file of type {place.suffix!r}")
    return place, full.stem


def load_embedded() -> Digits:
    """Loads the package's MNIST, and checks it against its hashes."""
    packaged = resources.files("mnistpipe.data").joinpath("mnist.npz")
    with resources.as_file(packaged) as path:
        stored = read_npz(path)
    for name, expected in MNIST_SHA256.items():
        got = hashlib.sha256(stored[name].array.data).hexdigest()
        if got != expected:
            raise data_error(
                stored[name].where,
                f"the original MNIST, SHA-256 {expected}",
                f"{got} (the installation is damaged)",
            )
    return digits_from("mnist", stored)
