"""The commit of the code that runs: only its own, and only if it has one."""

import shutil
import subprocess

import pytest

from mnistpipe.runs import provenance

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="needs git")


def git(folder, *arguments):
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    done = subprocess.run(
        ["git", *who, *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path):
    """A package in a checkout of its own, all of it committed."""
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "__init__.py").write_text("a = 1\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "package")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    yield folder
    provenance.commit.cache_clear()


def test_the_commit_of_a_checkout(package):
    assert provenance.commit(package) == git(package, "rev-parse", "HEAD")


@pytest.mark.parametrize("name", ["__init__.py", "new.py"])
def test_changed_code_is_marked(package, name):
    (package / name).write_text("a = 2\n")
    assert provenance.commit(package) == git(package, "rev-parse", "HEAD") + "+"


def test_changes_outside_of_the_package_do_not_matter(package):
    (package.parent / "README.md").write_text("words")
    assert not provenance.commit(package).endswith("+")


def test_code_installed_within_another_checkout_has_none(package):
    installed = package.parent / "venv" / "package"
    shutil.copytree(package, installed)
    assert provenance.commit(installed) is None


def test_no_checkout(tmp_path):
    assert provenance.commit(tmp_path) is None
    assert provenance.commit(tmp_path / "missing") is None


def test_no_git(package, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance.commit(package) is None


def test_the_environment_of_a_hook_misleads_nobody(
    package, monkeypatch, tmp_path
):
    expected = git(package, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert provenance.commit(package) == expected


def test_a_resumed_run_names_each_commit_once(monkeypatch):
    monkeypatch.setattr(provenance, "commit", lambda folder: "b")
    assert provenance.commits() == ("b",)
    assert provenance.commits(["a"]) == ("a", "b")
    assert provenance.commits(["a", "b"]) == ("a", "b")
    monkeypatch.setattr(provenance, "commit", lambda folder: None)
    assert provenance.commits() == ()
    assert provenance.commits(["a"]) == ("a",)
