"""Opens a local page on which one draws a digit and sees the answers.

python -m mnistpipe.demo --run=runs/X
python -m mnistpipe.demo --run=runs/X,runs/Y --save_to=handwriting

The page shows what the network is shown, its probabilities at every stroke,
and how steady the answer is under the recipe's augmentation. "This was a …"
saves a drawing under its class, so a folder of drawings becomes a test set:
python -m mnistpipe.evaluate --run=runs/X --data=handwriting

The page listens on this machine only, unless --host says otherwise, and needs
no internet. Install the extra `demo`, which brings Gradio.
"""

import os
import pathlib

from mnistpipe.cli import app, flags
from mnistpipe.data import folders
from mnistpipe.runs import backends, finished
from mnistpipe.serving.options import DemoOptions


def main(argv: list[str]) -> None:
    """Serves the page until Ctrl-C."""
    del argv  # the parser allows nothing but flags
    options = flags.read(DemoOptions)
    # Errors are found before TensorFlow and Gradio take seconds to load.
    runs = [finished.read(path) for path in options.runs]
    sizes = finished.sizes(runs)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    backends.load()
    from mnistpipe.evaluation.prediction import Predictor
    from mnistpipe.serving import drawing, page

    identity = runs[0].record.data
    answerer = drawing.Answerer(
        [Predictor(run) for run in runs],
        sizes.shape,
        identity.class_names or tuple(map(str, range(sizes.classes))),
        folders.preparation_for(sizes.shape, identity.preparation, True),
        options.versions,
        pathlib.Path(options.save_to),
    )
    summaries = [f"{run.path}: {run.record.summary()}" for run in runs]
    built = page.build(answerer, options.runs, summaries)
    page.serve(built, options.host, options.port)


if __name__ == "__main__":
    flags.define(DemoOptions)
    app.run(main, extra="demo")
