"""Shows what the network is shown: a grid of examples and augmented versions.

python -m mnistpipe.preview --arch=strided400k --rotation=25
python -m mnistpipe.preview --arch=pool2m --sweep=rotation:0,5,10,20 --draws=3
python -m mnistpipe.preview --flagfile=flags/quick.cfg --captions a.png b.png

Writes preview.png unless --out names another file. The first column is the
example without augmentation. Every flag of a recipe is accepted, so that a
flagfile can be given; only the augmentation changes the picture.
"""

import os
from pathlib import Path

from mnistpipe import data
from mnistpipe.cli import app, flags
from mnistpipe.errors import UsageError
from mnistpipe.evaluation.preview_options import PreviewOptions
from mnistpipe.recipes import Recipe, specs


def main(argv: list[str]) -> None:
    """Writes the preview that the flags describe."""
    options = flags.read(PreviewOptions)
    flags.read(Recipe)  # Errors are found before TensorFlow takes seconds.
    given = flags.given()
    values = {name: given[name] for name in specs(Recipe).keys() & given}
    paths = [Path(path) for path in argv[1:]]
    if paths and ("data" in given or "examples" in given):
        raise UsageError(
            "expected pictures in files, or --data and --examples, got both"
        )
    digits = None if paths else data.load(options.data or None)
    # Without a GPU, TensorFlow prints errors about CUDA that mean nothing.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from mnistpipe.evaluation import preview

    if digits is None:
        chosen = preview.of_files(paths, options.normalize_pictures)
    else:
        names = digits.class_names or tuple(map(str, range(digits.classes)))
        chosen = preview.of_each_class(digits.train, options.examples, names)
    preview.write(chosen, preview.composes(values, options), options)
    print(f"{options.path}: {len(chosen.names)} examples")


if __name__ == "__main__":
    flags.define(PreviewOptions)
    flags.define(Recipe)
    app.run(main, extra="preview", files=True)
