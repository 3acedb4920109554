"""Exports: each format in an independent runtime, beside predict."""

import importlib.util
import re
import subprocess
import sys

import numpy as np
import pytest
import scoring_helpers

from mnistpipe import data, export
from mnistpipe.errors import UserError
from mnistpipe.evaluation.prediction import Predictor
from mnistpipe.runs import finished
from mnistpipe.serving import exporting
from mnistpipe.serving.export_options import ExportOptions


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of one epoch on few digits."""
    folder = tmp_path_factory.mktemp("export")
    npz = scoring_helpers.save_npz(folder / "few.npz")
    return [
        scoring_helpers.finished_run(
            folder / f"run{seed}", npz, seed=seed, recipe={"epochs": 1}
        )
        for seed in (1, 2)
    ]


def call(*arguments):
    return scoring_helpers.call(export, *arguments, options=ExportOptions)


def own_answers(runs, images):
    predictors = [Predictor(finished.read(str(run))) for run in runs]
    return np.mean([one.probabilities(images) for one in predictors], axis=0)


NEEDED = {
    "saved_model": (),
    "litert": ("ai_edge_litert",),
    "onnx": ("onnx", "tf2onnx", "onnxruntime"),
    "keras": (),
}


@pytest.mark.slow
@pytest.mark.parametrize("format", NEEDED)
def test_each_format_answers_as_predict_does(runs, tmp_path, format):
    for name in NEEDED[format]:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed (extra `export`)")
    out = tmp_path / "out"
    status, _, err = call(
        f"--run={runs[0]}", f"--format={format}", f"--out={out}"
    )
    assert status == 0, err
    images = data.load().test.images[:1000]
    path = out / exporting.FILES[format]
    found = exporting.answers(format, path)(images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, own_answers(runs[:1], images), atol=1e-5)
    card = (out / "README.md").read_text("utf-8")
    for part in ("uint8 [N, 28, 28, 1]", "split: 50 training", "Apache-2.0"):
        assert part in card
    (code,) = re.findall(r"```python\n(.*?)```", card, re.S)
    assert len(code.strip().splitlines()) <= 10
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=out, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"\[\d\]", done.stdout)


def test_several_runs_become_one_ensemble(runs, tmp_path):
    out = tmp_path / "both"
    status, _, err = call(
        f"--run={runs[0]},{runs[1]}",
        "--format=saved_model",
        f"--out={out}",
    )
    assert status == 0, err
    images = data.load().test.images[:50]
    found = exporting.answers("saved_model", out / "model")(images)
    np.testing.assert_allclose(found, own_answers(runs, images), atol=1e-5)
    again, _, err = call(f"--run={runs[0]}", f"--out={out}")
    assert again and "new or an empty folder" in err


def test_int8_is_small_and_states_its_loss(runs, tmp_path):
    sizes = {}
    for flags in ((), ("--int8",)):
        out = tmp_path / f"int8{len(flags)}"
        status, text, err = call(
            *(f"--run={runs[0]}", "--format=litert", f"--out={out}"),
            *flags,
        )
        assert status == 0, err
        sizes[flags] = (out / "model.tflite").stat().st_size
    assert sizes[("--int8",)] < 0.45 * sizes[()]
    assert len(text.splitlines()) == 2, text  # nothing of TensorFlow's
    assert re.search(r"on 100 test images.*accuracy is \d+\.\d\d%", text)


def test_a_missing_package_is_one_line(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    words = "extra `export` .* got no onnx, tf2onnx"
    with pytest.raises(UserError, match=words):
        exporting.check("onnx")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--run=nothing",), "nothing: expected the folder of a finished run"),
        (("--run=x", "--int8"), "expected --format=litert"),
        (("--run=x", "--format=pmml"), "expected one of saved_model, litert"),
    ],
)
def test_wrong_flags_are_one_line(flags, words):
    status, _, err = call(*flags)
    assert status and words in err and err.count("\n") == 1
