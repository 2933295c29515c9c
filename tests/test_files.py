"""Files are whole or not there: after errors, interrupts, full disks, read-only folders and kills."""

import errno
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from course_lib import files
from course_lib.files import OutputError, replacing, writable_folder, write_text


@contextmanager
def mounted(folder, options):
    """A file system of our own, or a skip where mounting is not permitted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip("mounting is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def failing(number):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    return fail


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "first ä\n")
    write_text(str(path), "second\n")
    assert path.read_bytes() == b"second\n"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_are_those_of_any_new_file(mask, mode, tmp_path):
    before = os.umask(mask)
    try:
        write_text(tmp_path / "a.txt", "x")
        assert os.umask(mask) == mask  # looking at the mask has not changed it
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError, SystemExit])
def test_an_interrupt_in_the_middle_leaves_the_old_file_and_nothing_else(error, tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def interrupted():
        with replacing(path) as temporary:
            temporary.write_text("half of the n")
            assert path.read_text() == "old"
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "you may not write there"),
        (errno.EDQUOT, "quota"),
        (errno.EIO, "choose another folder"),
    ],
)
def test_what_the_system_refuses_is_explained(function, number, words, tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    monkeypatch.setattr(files.os, function, failing(number))
    with pytest.raises(OutputError, match=words) as caught:
        write_text(path, "new")
    assert str(path) in str(caught.value)
    assert caught.value.errno == number
    assert isinstance(caught.value, OSError)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_disk_that_fills_up_while_writing(tmp_path, monkeypatch):
    write_text(tmp_path / "a.txt", "old")
    monkeypatch.setattr(Path, "write_text", failing(errno.ENOSPC))
    with pytest.raises(OutputError, match=r"the disk is full.*a\.txt"):
        write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_bytes() == b"old"
    assert names(tmp_path) == ["a.txt"]


def test_a_disk_that_is_full(tmp_path):
    with mounted(tmp_path / "tiny", "size=64k") as folder:
        write_text(folder / "a.txt", "old")
        with pytest.raises(OutputError, match=r"the disk is full.*a\.txt"):
            write_text(folder / "a.txt", "x" * 200_000)
        assert (folder / "a.txt").read_text() == "old"
        assert names(folder) == ["a.txt"]


def test_a_folder_that_is_read_only(tmp_path):
    with mounted(tmp_path / "ro", "size=64k,ro") as folder:
        with pytest.raises(OutputError, match=r"read-only; choose another folder.*a\.txt"):
            write_text(folder / "a.txt", "x")
        with pytest.raises(OutputError, match="read-only"):
            writable_folder(folder)
        with pytest.raises(OutputError, match="read-only"):
            writable_folder(folder / "run")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="you may not write there"):
            writable_folder(tmp_path)
    finally:
        tmp_path.chmod(0o700)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(OutputError, match="nowhere"):
        write_text(tmp_path / "nowhere" / "a.txt", "x")


def test_writable_folder_makes_it_and_leaves_nothing_in_it(tmp_path):
    folder = writable_folder(tmp_path / "a" / "b")
    assert folder == tmp_path / "a" / "b"
    assert writable_folder(str(folder)) == folder
    assert names(folder) == []


@pytest.mark.parametrize("below", ["", "run"])
def test_a_file_in_the_way_is_refused(below, tmp_path):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(OutputError, match="file"):
        writable_folder(tmp_path / "taken" / below)
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_kill_9_in_the_middle_of_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    write_text(tmp_path / ".mine.partial", "of another program")
    code = (
        "import sys, time\nfrom course_lib.files import replacing\n"
        "with replacing(sys.argv[1]) as t:\n    t.write_text('half'); print('now', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"now\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert path.read_text() == "old"
    assert len(names(tmp_path)) == 3
    writable_folder(tmp_path)  # the next run cleans up after the dead one, and touches nothing else
    assert names(tmp_path) == [".mine.partial", "a.txt"]


def test_a_reader_never_meets_half_a_file(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "0" * 100_000)
    code = (
        "import sys\nfrom course_lib.files import write_text\n"
        "for i in range(200):\n    write_text(sys.argv[1], str(i % 10) * 100_000)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(path)])
    seen, deadline = set(), time.monotonic() + 60
    while child.poll() is None and time.monotonic() < deadline:
        text = path.read_text()
        assert text == text[0] * 100_000
        seen.add(text[0])
    assert child.wait() == 0
    assert len(seen) > 1
