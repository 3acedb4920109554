"""The card beside an exported model: what it takes, gives, and is worth."""

from collections.abc import Sequence

from mnistpipe.runs.finished import FinishedRun
from mnistpipe.serving.exporting import FILES

_CALLS = {
    "saved_model": """\
import numpy as np
import tensorflow as tf

pictures = np.zeros((1, {h}, {w}, {c}), np.uint8)
model = tf.saved_model.load("model")
probabilities = model.serve(pictures).numpy()
print(probabilities.argmax(axis=1))""",
    "litert": """\
import numpy as np
from ai_edge_litert.interpreter import Interpreter

pictures = np.zeros((1, {h}, {w}, {c}), np.uint8)
model = Interpreter("model.tflite")
model.allocate_tensors()
model.set_tensor(model.get_input_details()[0]["index"], pictures)
model.invoke()
output = model.get_output_details()[0]["index"]
print(model.get_tensor(output).argmax(axis=1))""",
    "onnx": """\
import numpy as np
import onnxruntime

pictures = np.zeros((1, {h}, {w}, {c}), np.uint8)
model = onnxruntime.InferenceSession("model.onnx")
name = model.get_inputs()[0].name
(probabilities,) = model.run(None, {{name: pictures}})
print(probabilities.argmax(axis=1))""",
    "keras": """\
import keras
import numpy as np

pictures = np.zeros((1, {h}, {w}, {c}), np.uint8)
model = keras.models.load_model("model.keras", compile=False)
print(model.predict(pictures).argmax(axis=1))""",
}


def text(
    runs: Sequence[FinishedRun],
    format: str,
    shape: tuple[int, int, int],
    class_names: Sequence[str],
    measured: str,
) -> str:
    """Returns the card as Markdown.

    Args:
      runs: whose networks are in the model.
      format: of the model.
      shape: (H, W, C) of a picture.
      class_names: in the order of the output.
      measured: what was measured of the exported file, a sentence.
    """
    height, width, channels = shape
    call = _CALLS[format].format(h=height, w=width, c=channels)
    lines = [
        f"# {FILES[format]}",
        "",
        "| | |",
        "|---|---|",
        f"| input | uint8 [N, {height}, {width}, {channels}], pictures from 0"
        " to 255; MNIST's are white on black |",
        f"| output | float32 [N, {len(class_names)}], probabilities |",
        f"| classes | {', '.join(class_names)} |",
        *(f"| network | {run.record.summary()} |" for run in runs),
        *(f"| score | {_score(run)} |" for run in runs),
        f"| this file | {measured} |",
        "| licence | Apache-2.0; the MNIST data are CC BY-SA 3.0 |",
        "",
        "How to call the model, in the folder of this card:",
        "",
        "```python",
        call,
        "```",
        "",
    ]
    return "\n".join(lines)


def _score(run: FinishedRun) -> str:
    record = run.record
    if record.test_accuracy is None:
        return f"not scored; {record.protocol()}"
    return (
        f"{record.test_accuracy:.2%} of {record.test_examples:,} test images,"
        f" {record.protocol()}"
    )
