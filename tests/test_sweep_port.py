"""Damaged folders, and what a stranger or a lost worker can send the chief."""

import json
import os
import shutil
import socket
import threading

import grpc
import pytest
import test_sweeps as sweeps

from mnistpipe.sweep import coordinator, port, results, roles, settings, trials
from mnistpipe.sweep.settings import SweepError

fake = sweeps.fake


@pytest.fixture(scope="module")
def completed(tmp_path_factory):
    """A finished Hyperband sweep, to be copied and damaged."""
    folder = tmp_path_factory.mktemp("sweep") / "it"
    made = sweeps.make(tuner="hyperband", max_trials=6, epochs=3)
    patch = pytest.MonkeyPatch()
    patch.setattr(trials, "TRAINER", (sweeps.sys.executable, str(sweeps.FAKE)))
    patch.setenv("PYTHONPATH", str(sweeps.ROOT))
    sweeps.sweep(folder, made)
    patch.undo()
    return folder, made


DAMAGE = ["", "{", "{}", "[]", '"x"', "[" * 10_000, "\x00\xff", "FIFO"]


@pytest.mark.parametrize("name", ["oracle.json", "trial.json", "outcome.json"])
def test_a_damaged_folder_is_repaired(completed, tmp_path, capsys, name):
    """Each damage in a trial of its own, then once more without any."""
    before, made = completed
    folder = tmp_path / "sweep"
    shutil.copytree(before, folder)
    old = results.collect(folder, made)
    for number, text in enumerate(DAMAGE):
        trial = folder / f"trial_{number % 6}"
        path = folder / name if name == "oracle.json" else trial / name
        path.unlink()
        if text == "FIFO":
            os.mkfifo(path)
        else:
            path.write_text(text)
        if name == "oracle.json" or number == 5:
            assert roles.run(folder, made, made.sweep) == 0
    assert roles.run(folder, made, made.sweep) == 0
    rows = results.collect(folder, made)
    assert [row.trial for row in rows] == [str(n) for n in range(6)]
    assert all(row.status == "completed" for row in rows)
    assert rows[0].values == old[0].values
    out = capsys.readouterr().out
    assert ("  damaged" in out) == (name != "oracle.json")
    if name != "trial.json":
        assert rows == old  # nothing was trained anew
    else:
        assert len(list(folder.glob("damaged_trial_*"))) >= 6


WRONG = {
    "a path": ("trial_id", "../../x"),
    "a status": ("status", "INVALID\x1b[2J"),
    "no values": ("hyperparameters", []),
    "a batch of strings": ("rotation", "9"),
    "out of range": ("rotation", 9e9),
    "not a number": ("rotation", float("nan")),
    "never proposed": ("epochs", 999_999),
    "a budget": ("tuner/epochs", 999_999),
    "a parent that is a path": ("tuner/trial_id", "../1"),
}


@pytest.mark.parametrize(("name", "value"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_value_in_a_trial_is_recorded_and_repeated(
    completed, tmp_path, capsys, name, value
):
    before, made = completed
    folder = tmp_path / "sweep"
    shutil.copytree(before, folder)
    path = folder / "trial_2" / "trial.json"
    content = json.loads(path.read_text())
    point = content["hyperparameters"]
    (content if name in content else point["values"])[name] = value
    path.write_text(json.dumps(content))
    sweep = coordinator.Coordinator(folder, made, lambda _: None)
    assert sweep.next_task("me").trial == "2"
    assert "2  damaged, kept as damaged_trial_2-1" in capsys.readouterr().out


# The port.


@pytest.fixture
def chief(tmp_path, monkeypatch):
    """A chief on loopback: (ask, its coordinator, the address, the folder)."""
    monkeypatch.setattr(coordinator, "LEASE_SECONDS", 0.5)
    made = sweeps.make(max_trials=3)
    folder = tmp_path / "sweep"
    settings.keep(folder, made)
    one = coordinator.Coordinator(folder, made, lambda _: None)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()[:2]
    secret = port.make_secret(folder)
    server = port.serve(one, address, secret)

    def ask(method, content, secret=secret, service="mnistpipe.Sweep"):
        target = f"{address[0]}:{address[1]}"
        with grpc.insecure_channel(target) as channel:
            call = channel.unary_unary(f"/{service}/{method}")
            if not isinstance(content, bytes):
                content = json.dumps(content).encode()
            metadata = [("sweep-secret", secret)] if secret else []
            try:
                return json.loads(call(content, timeout=10, metadata=metadata))
            except grpc.RpcError as error:
                return error.code().name

    yield ask, one, address, folder
    server.stop(0).wait()


ME = {"worker": "me", "trial": "0"}
SENT = {
    "keras-tuner's EndTrial": ("EndTrial", b"", "UNIMPLEMENTED"),
    "no trial": ("End", {"worker": "me"}, "INVALID_ARGUMENT"),
    "metrics": ("End", {**ME, "val_accuracy": 2.0}, "INVALID_ARGUMENT"),
    "hyperparameters": ("End", {**ME, "epochs": 9}, "INVALID_ARGUMENT"),
    "a path": ("End", {**ME, "trial": "../0"}, "INVALID_ARGUMENT"),
    "another trial": ("End", {**ME, "trial": "1"}, "INVALID_ARGUMENT"),
    "a number": ("End", {**ME, "trial": 0}, "INVALID_ARGUMENT"),
    "a list": ("End", [], "INVALID_ARGUMENT"),
    "another worker": ("End", {**ME, "worker": "you"}, "INVALID_ARGUMENT"),
    "control": ("Next", {"worker": "\x1b[2J\n"}, "INVALID_ARGUMENT"),
    "a long name": ("Next", {"worker": "a" * 101}, "INVALID_ARGUMENT"),
    "no JSON": ("Next", b"\xff\x00{", "INVALID_ARGUMENT"),
    "deep": ("Next", b"[" * 4000, "INVALID_ARGUMENT"),
    "large": ("Next", b"[" * 10_000, "RESOURCE_EXHAUSTED"),
    "before its end": ("End", ME, "INVALID_ARGUMENT"),  # no outcome.json
}


def test_what_was_not_handed_out_is_refused_without_harm(chief):
    ask, _, _, folder = chief
    handed = ask("Next", {"worker": "me"})
    assert handed["trial"] == "0"
    before = sweeps_files(folder)
    for name, (method, content, code) in SENT.items():
        assert ask(method, content) == code, name
        ask("Renew", ME)
    for secret in ("", "0" * 64, "x"):
        assert ask("Next", {"worker": "me"}, secret) == "UNAUTHENTICATED"
    assert ask("EndTrial", b"", service="keras_tuner.Oracle") == "UNIMPLEMENTED"
    assert sweeps_files(folder) == before
    assert ask("Next", {"worker": "me"}) == handed  # its own trial again


def sweeps_files(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_trial_that_is_not_renewed_is_handed_out_anew(chief, capsys):
    ask, one, _, _ = chief
    first = ask("Next", {"worker": "lost"})
    over = threading.Event()
    assert ask("Next", {"worker": "me"})["trial"] == "1"
    for _ in range(4):
        over.wait(0.25)
        assert ask("Renew", {**ME, "trial": "1"}) == {}
    assert "lost has not been heard of" not in capsys.readouterr().out
    assert not one.finished()
    assert ask("Next", {"worker": "you"}) == first
    assert "lost has not been heard of" in capsys.readouterr().out
    assert ask("End", {"worker": "lost", "trial": "0"}) == "INVALID_ARGUMENT"


def test_a_worker_runs_what_a_chief_hands_out(chief, monkeypatch):
    """The client over loopback, and its refusals."""
    _, one, address, folder = chief
    monkeypatch.setattr(port, "RENEW_SECONDS", 0.1)
    options = sweeps.SweepOptions(
        role="worker", chief_address=f"127.0.0.1:{address[1]}", worker_id="w"
    )
    assert roles.work(folder, options) == 0
    rows = results.collect(folder, settings.load(folder))
    assert [row.status for row in rows] == ["completed"] * 3
    assert one.finished() and one.everybody_told
    (folder / port.SECRET).write_text("0" * 64)
    with pytest.raises(SweepError, match="expected the secret of the sweep"):
        roles.work(folder, options)
    (folder / port.SECRET).chmod(0o644)
    with pytest.raises(SweepError, match="only its owner can read"):
        roles.work(folder, options)


def test_a_worker_checks_what_a_chief_answers(chief, monkeypatch):
    _, one, address, folder = chief
    made = settings.load(folder)
    client = port.Client(address, port.read_secret(folder), "w")
    monkeypatch.setattr(port, "GONE_SECONDS", 1.0)
    for trial, values in {
        "../0": {},
        "9": {},
        "0": {"rotation": 1.0, "learning_rate": 1.0},
        "1": {"rotation": 1.0, "learning_rate": 1e-3, "epochs": 10**6},
    }.items():
        monkeypatch.setattr(
            one,
            "next_task",
            lambda *_, t=trial, v=values, **__: coordinator.Task("run", t, v),
        )
        with pytest.raises(SweepError, match="expected a chief at"):
            client.next_task(made)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        other = port.Client(silent.getsockname()[:2], "0" * 64, "w")
        with pytest.raises(SweepError, match="no chief answered within 1 s"):
            other.next_task(made)
