"""Finished networks in the formats of other runtimes.

The exported model holds the preprocessing: it takes uint8 [N, H, W, C], the
pictures as they are stored, and gives float32 [N, classes], probabilities.
Several networks become one model that gives the mean of their probabilities.
"""

import importlib.util
import pathlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from mnistpipe import extras

# Packages that a format needs beyond the project's own.
NEEDS = {"onnx": ("onnx", "tf2onnx")}
FILES = {
    "saved_model": "model",
    "litert": "model.tflite",
    "onnx": "model.onnx",
    "keras": "model.keras",
}
_CALIBRATION = 500  # training pictures that set the ranges of int8 values


def check(format: str) -> None:
    """Refuses a format whose packages are missing, in one line."""
    extras.require("export", NEEDS.get(format, ()))


def with_preprocessing(networks: Sequence[keras.Model]) -> keras.Model:
    """Builds one model from uint8 pictures to probabilities."""
    shape = networks[0].input_shape[1:]
    pictures = keras.Input(shape, dtype="uint8", name="pictures")
    scaled = keras.layers.Rescaling(1 / 255, name="scale")(pictures)
    # Members of one architecture share a name, which Keras allows only once.
    members = [
        keras.Model(one.inputs[0], one.outputs[0], name=f"network{place}")
        for place, one in enumerate(networks)
    ]
    answers = [member(scaled) for member in members]
    if len(answers) > 1:
        answers = [keras.layers.Average(name="mean")(answers)]
    return keras.Model(pictures, answers[0], name="exported")


def write(
    model: keras.Model, format: str, path: pathlib.Path, examples: np.ndarray
) -> None:
    """Writes a model in one of the formats of `FILES`.

    Args:
      model: of `with_preprocessing`.
      format: a key of `FILES`.
      path: the file, or the folder of a SavedModel; it must be new.
      examples: uint8 [N, H, W, C]; the first is shown to the model, since
        Keras exports only models that were called.
    """
    model(examples[:1])
    if format == "keras":
        model.save(path)
        return
    name = {"saved_model": "tf_saved_model"}.get(format, format)
    with warnings.catch_warnings():
        # Keras reads np.object, and NumPy warns of that.
        warnings.simplefilter("ignore", FutureWarning)
        model.export(path, format=name, verbose=False)


def write_int8(
    model: keras.Model, path: pathlib.Path, examples: np.ndarray
) -> None:
    """Writes a LiteRT model whose weights and activations are 8-bit integers.

    Args:
      model: of `with_preprocessing`.
      path: the file.
      examples: uint8 [N, H, W, C], training pictures that set the ranges.
    """
    from tensorflow import lite

    with warnings.catch_warnings():
        # TensorFlow warns that the input has no range; it stays uint8.
        warnings.simplefilter("ignore", UserWarning)
        model.export(
            path,
            format="litert",
            verbose=False,
            optimizations=[lite.Optimize.DEFAULT],
            representative_dataset=lambda: (
                [image[np.newaxis]] for image in examples[:_CALIBRATION]
            ),
        )


def answers(
    format: str, path: pathlib.Path
) -> Callable[[np.ndarray], np.ndarray]:
    """Opens an exported model, and returns its function from uint8 pictures.

    ONNX is opened by ONNX Runtime, LiteRT by TensorFlow's interpreter.
    """
    if format == "keras":
        model = keras.models.load_model(path, compile=False)
        return lambda images: model.predict(images, verbose=0)
    if format == "saved_model":
        import tensorflow as tf

        loaded = tf.saved_model.load(path)
        return lambda images: loaded.serve(images).numpy()
    return {"onnx": _onnx, "litert": _litert}[format](path)


def _onnx(path: pathlib.Path) -> Callable[[np.ndarray], np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def _litert(path: pathlib.Path) -> Callable[[np.ndarray], np.ndarray]:
    interpreter: Any = _interpreter(path)

    def run(images: np.ndarray) -> np.ndarray:
        place = interpreter.get_input_details()[0]["index"]
        interpreter.resize_tensor_input(place, images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(place, images)
        interpreter.invoke()
        return interpreter.get_tensor(
            interpreter.get_output_details()[0]["index"]
        )

    return run


def _interpreter(path: pathlib.Path) -> Any:
    if importlib.util.find_spec("ai_edge_litert"):
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter(str(path))
    import tensorflow as tf

    return tf.lite.Interpreter(str(path))
