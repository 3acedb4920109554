"""Where data comes from: the embedded MNIST, an `.npz`, a folder of IDX files.

Each source is a reader that gives the four arrays of Keras' layout as they
are stored; one function checks them all (`examples.digits_from`).
"""

import hashlib
import os
from importlib import resources
from pathlib import Path

from mnistpipe.data.examples import Digits, data_error, digits_from
from mnistpipe.data.files import damage_as_data_error
from mnistpipe.data.idx import read_idx_folder
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
    """Loads a data set: 60,000 and 10,000 embedded digits, or a user's own.

    Args:
        path: None for the embedded MNIST; or an `.npz` in Keras' layout
            (x_train, y_train, x_test, y_test); or a folder with the four IDX
            files under MNIST's names, gzipped or not.

    Returns:
        Images uint8 [N, H, W, C] and labels int64 [N], all of them checked.

    Raises:
        DataError: one line that names the file, what was expected and what
            came. No other error comes out of any content of the files.
    """
    if path is None:
        return load_embedded()
    if not os.fspath(path):
        raise data_error("data", "a path", "an empty one")
    place = Path(path)
    wanted = "an .npz file or a folder of IDX files"
    with damage_as_data_error(place, wanted, ValueError):  # a zero byte
        place.stat()
    # As the user wrote it, but "." has a name too.
    full = Path(os.path.abspath(place))
    if place.is_dir():
        return digits_from(full.name, read_idx_folder(place))
    if place.suffix.lower() != ".npz":
        raise data_error(place, wanted, f"a file of type {place.suffix!r}")
    return digits_from(full.stem, read_npz(place))


def load_embedded() -> Digits:
    """Loads the MNIST that lies in the package, checked against its hashes."""
    packaged = resources.files("mnistpipe.data").joinpath("mnist.npz")
    with resources.as_file(packaged) as path:
        stored = read_npz(path)
    for name, expected in MNIST_SHA256.items():
        came = hashlib.sha256(stored[name].array).hexdigest()
        if came != expected:
            raise data_error(
                stored[name].where,
                f"the original MNIST, SHA-256 {expected}",
                f"{came} (the installation is damaged)",
            )
    return digits_from("mnist", stored)
