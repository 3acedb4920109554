"""What finished runs say of single pictures."""

import json
import pathlib
import subprocess
import sys

import helpers
import numpy as np
import pytest
import scoring_helpers
from PIL import Image

from mnistpipe import predict
from mnistpipe.networks import models

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two runs, and the first test digits as PNGs."""
    folder = tmp_path_factory.mktemp("predict")
    npz = scoring_helpers.save_npz(folder / "few.npz")
    for seed in (1, 2):
        scoring_helpers.finished_run(folder / f"run{seed}", npz, seed=seed)
    for index, image in enumerate(helpers.few_digits().test.images[:3]):
        Image.fromarray(image[..., 0]).save(folder / f"{index}.png")
    return folder


def call(*arguments):
    return scoring_helpers.call(predict, *arguments, files=True)


def test_probabilities_are_those_of_the_network(made):
    pictures = helpers.few_digits().test.images[:3] / np.float32(255)
    networks = [models.load(made / f"run{n}" / "last.keras") for n in (1, 2)]
    each = [network.predict(pictures, verbose=0) for network in networks]
    files = [made / f"{index}.png" for index in range(3)]
    for runs, expected in (
        (f"{made / 'run1'}", each[0]),
        (f"{made / 'run1'},{made / 'run2'}", (each[0] + each[1]) / 2),
    ):
        status, out, err = call(f"--run={runs}", *files, "--json")
        assert status == 0, err
        found = json.loads(out)
        rows = found["answers"]
        assert [row["file"] for row in rows] == [str(file) for file in files]
        np.testing.assert_allclose(
            [row["probabilities"] for row in rows], expected, rtol=1e-5
        )
        assert [row["class"] for row in rows] == (
            expected.argmax(axis=1).tolist()
        )
        assert sum(rows[0]["probabilities"]) == pytest.approx(1, abs=1e-12)
        member = found["members"][0]
        assert (member["seed"], member["protocol"]) == (1, "split")
        assert {"tensorflow", "keras"} <= set(found["versions"])


def test_the_table(made):
    status, out, err = call(f"--run={made / 'run1'}", made / "1.png")
    assert status == 0, err
    header, row = out.splitlines()[:2]
    assert header.split()[:3] == ["picture", "class", "p(0)"]
    name, answer, *shares = row.split()
    assert name == str(made / "1.png") and len(shares) == 10
    assert np.argmax([float(share) for share in shares]) == int(answer)
    words = " ".join(out.split())
    assert "seed 1, protocol split" in words
    assert "MNIST's convention" in words


def test_a_photo_gives_nearly_the_same(made, tmp_path):
    digit = helpers.few_digits().test.images[0, ..., 0]
    large = Image.fromarray(255 - digit).resize((280, 280)).convert("RGB")
    photo = tmp_path / "photo.jpg"
    large.save(photo)
    _, out, _ = call(f"--run={made / 'run1'}", made / "0.png", photo, "--json")
    first, second = (row["probabilities"] for row in json.loads(out)["answers"])
    np.testing.assert_allclose(first, second, atol=0.1)


def test_as_a_process_of_its_own(made):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "mnistpipe.predict", *arguments],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )

    done = run(f"--run={made / 'run1'}", str(made / "0.png"), "--json")
    assert done.returncode == 0
    assert len(json.loads(done.stdout)["answers"]) == 1
    done = run(f"--run={made / 'run1'}", "--data=x", str(made / "0.png"))
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and "data" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    done = run("--help")
    assert done.returncode == 0 and "--normalize_pictures" in done.stdout
    assert "--batch_size" not in done.stdout
