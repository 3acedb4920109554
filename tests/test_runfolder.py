"""Run folders: refused, claimed, reopened, written whole or not at all."""

import helpers
import pytest

from mnistpipe.errors import UserError
from mnistpipe.runs import runfolder
from mnistpipe.runs.runfolder import RunFolder, RunFolderError


def test_checking_touches_nothing(tmp_path):
    RunFolder(tmp_path / "a" / "b").check()
    assert not list(tmp_path.iterdir())


def test_a_claimed_folder_stays_if_something_is_in_it(tmp_path):
    with RunFolder.claim(tmp_path / "a" / "b") as folder:
        folder.write("flags.cfg", "--seed=1\n")
    assert helpers.files(tmp_path) == {"a/b/flags.cfg": b"--seed=1\n"}


def test_an_empty_folder_that_a_claim_made_goes(tmp_path):
    """But not one that was there before."""
    for path in (tmp_path / "mine" / "a" / "b", tmp_path / "mine"):
        (tmp_path / "mine").mkdir(exist_ok=True)
        with pytest.raises(ZeroDivisionError), RunFolder.claim(path):
            raise ZeroDivisionError
        assert list(tmp_path.rglob("*")) == [tmp_path / "mine"]


def test_a_used_folder_is_refused_and_stays(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    before = helpers.files(tmp_path)
    with pytest.raises(RunFolderError, match="already holds"):
        RunFolder(tmp_path).check()
    with pytest.raises(RunFolderError, match="already holds"):
        claim(tmp_path)
    assert helpers.files(tmp_path) == before


def claim(path):
    with RunFolder.claim(path):
        raise AssertionError("the folder was claimed")


def test_one_of_two_runs_gets_the_folder(tmp_path, monkeypatch):
    """Both saw the folder empty; the second must not write."""
    path = tmp_path / "run"
    with RunFolder.claim(path):
        with pytest.raises(RunFolderError, match="still going"):
            claim(path)
        assert path.is_dir()
    assert not path.exists()

    def used_meanwhile(folder):
        """The first run is over when the second has the lock."""
        if path.exists():
            (path / "flags.cfg").write_text("first")
        check(folder)

    check = RunFolder.check
    monkeypatch.setattr(RunFolder, "check", used_meanwhile)
    with pytest.raises(RunFolderError, match="already holds"):
        claim(path)
    assert helpers.files(tmp_path) == {"run/flags.cfg": b"first"}


def test_a_run_is_reopened_once(tmp_path):
    (tmp_path / "flags.cfg").write_text("--seed=1\n")
    with RunFolder.reopen(tmp_path) as folder:
        assert folder.read("flags.cfg") == "--seed=1\n"
        with (
            pytest.raises(RunFolderError, match="still going"),
            RunFolder.reopen(tmp_path),
        ):
            raise AssertionError("reopened twice")


@pytest.mark.parametrize("name", ["gone", ""])
def test_only_a_run_is_reopened(tmp_path, name):
    with (
        pytest.raises(RunFolderError, match=r"has no flags\.cfg"),
        RunFolder.reopen(tmp_path / name),
    ):
        raise AssertionError("reopened")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("below", ["file", "file/run", "file/a/b"])
def test_no_folder_can_be_where_a_file_is(tmp_path, below):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunFolderError) as error:
        claim(tmp_path / below)
    assert "\n" not in str(error.value)
    assert "not a folder" in str(error.value).lower()
    assert helpers.files(tmp_path) == {"file": b"mine"}


def test_what_the_system_refuses_is_one_line():
    with pytest.raises(UserError) as error:
        claim("/proc/mnistpipe/run")
    assert "\n" not in str(error.value)
    assert "/proc/mnistpipe/run" in str(error.value)


def test_a_read_only_folder_is_refused_before_any_work(tmp_path, monkeypatch):
    # The permission itself would not hold root back.
    monkeypatch.setattr(runfolder.os, "access", lambda *_: False)
    with pytest.raises(RunFolderError, match="not writable"):
        claim(tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_too_long_is_one_line():
    with pytest.raises(RunFolderError):
        claim("x" * 1000)


def test_default_names_differ_between_runs_and_name_the_recipe():
    assert runfolder.default("pool2m").parent.name == "runs"
    assert runfolder.default("pool2m").name.startswith("pool2m-20")


@pytest.mark.parametrize("interruption", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_the_old_file(tmp_path, interruption):
    path = tmp_path / "last.keras"
    path.write_text("old")
    with pytest.raises(interruption), runfolder.replacing(path) as beside:
        beside.write_text("half of the n")
        raise interruption
    assert helpers.files(tmp_path) == {"last.keras": b"old"}


def test_a_finished_write_replaces_the_old_file(tmp_path):
    path = tmp_path / "last.keras"
    path.write_text("old")
    with runfolder.replacing(path) as beside:
        assert path.read_text() == "old"
        assert beside.suffix == ".keras"  # Keras goes by it
        beside.write_text("new")
    assert helpers.files(tmp_path) == {"last.keras": b"new"}
