"""Run folders: refused, claimed, written whole or not at all."""

import helpers
import pytest

from mnistpipe.errors import UserError
from mnistpipe.runs import runfolder


def folder(path):
    return runfolder.of(str(path), "pool2m")


def test_checking_touches_nothing(tmp_path):
    folder(tmp_path / "a" / "b").check()
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_may_be_used(tmp_path):
    folder(tmp_path).create("--seed=1\n")
    assert helpers.files(tmp_path) == {"flags.cfg": b"--seed=1\n"}


def test_a_used_folder_is_refused_and_stays(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    before = helpers.files(tmp_path)
    for use in (folder(tmp_path).check, lambda: folder(tmp_path).create("")):
        with pytest.raises(runfolder.RunFolderError, match="already holds"):
            use()
    assert helpers.files(tmp_path) == before


def test_one_of_two_runs_gets_the_folder(tmp_path, monkeypatch):
    """Both saw it empty; the second must not write."""
    folder(tmp_path / "run").create("first")
    monkeypatch.setattr(runfolder.RunFolder, "check", lambda self: None)
    with pytest.raises(runfolder.RunFolderError, match="already holds"):
        folder(tmp_path / "run").create("second")
    assert (tmp_path / "run" / "flags.cfg").read_text() == "first"


@pytest.mark.parametrize("below", ["file", "file/run", "file/a/b"])
def test_no_folder_can_be_where_a_file_is(tmp_path, below):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(runfolder.RunFolderError) as error:
        folder(tmp_path / below).check()
    assert "\n" not in str(error.value)
    assert "not a folder" in str(error.value).lower()
    assert helpers.files(tmp_path) == {"file": b"mine"}


def test_what_the_system_refuses_is_one_line():
    refused = folder("/proc/mnistpipe/run")
    with pytest.raises(UserError) as error:
        refused.create("")
    assert "\n" not in str(error.value)
    assert "/proc/mnistpipe/run" in str(error.value)


def test_a_read_only_folder_is_refused_before_any_work(tmp_path, monkeypatch):
    # The permission itself would not hold root back.
    monkeypatch.setattr(runfolder.os, "access", lambda *_: False)
    with pytest.raises(runfolder.RunFolderError, match="not writable"):
        folder(tmp_path / "run").check()


def test_a_name_that_is_too_long_is_one_line():
    with pytest.raises(runfolder.RunFolderError):
        folder("x" * 1000).check()


def test_default_names_differ_between_runs_and_name_the_recipe():
    assert runfolder.of("", "pool2m").path.parent.name == "runs"
    assert runfolder.of("", "pool2m").path.name.startswith("pool2m-20")


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
