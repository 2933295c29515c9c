"""Files that are either whole or not there: what keeps a run readable after a crash (chapter 06 relies on it).

A file is written beside its final place and moved there in one step of the file system. Whoever reads it meets the old
content or the new one, never half of either, whatever moment the process dies at.
"""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".course-partial"
"""How the name of a file ends that is not whole yet."""


class OutputError(OSError):
    """A file or folder that a run needs to write and cannot, with what to do."""


def _explain(path: Path, error: OSError) -> OutputError:
    remedy = {
        errno.ENOSPC: "the disk is full; free space or choose another folder",
        errno.EDQUOT: "your disk quota is used up; free space or choose another folder",
        errno.EROFS: "the file system is read-only; choose another folder",
        errno.EACCES: "you may not write there; choose another folder or change its permissions",
        errno.EPERM: "you may not write there; choose another folder or change its permissions",
        errno.ENOTDIR: "a part of the path is a file, not a folder; choose another folder",
        errno.EEXIST: "a file of that name is in the way; choose another folder",
    }.get(error.errno or 0, "choose another folder")
    return OutputError(error.errno or 0, f"cannot write: {error.strerror or error}; {remedy}", str(path))


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Give a temporary path to write to, then put that file in the place of `path` in one step.

    On any error, an interrupt included, the temporary file is removed and what stood at `path` stays as it was.

    Args:
        path: The file to write or replace. Its folder must exist.

    Yields:
        A path in the same folder, to be written by the caller.

    Raises:
        OutputError: The folder cannot be written or the disk is full.
    """
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL)
    except OSError as error:
        raise _explain(path, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("r+b") as written:  # Windows syncs only what is open for writing
            os.fsync(written.fileno())  # the move must not reach the disk before the content does
        temporary.chmod(0o666 & ~_umask())  # mkstemp's files are private to the user
        os.replace(temporary, path)
    except OSError as error:
        raise _explain(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path | str, text: str) -> None:
    """Replace a text file in one step, as UTF-8.

    Raises:
        OutputError: The folder cannot be written or the disk is full.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def writable_folder(path: Path | str) -> Path:
    """Make the folder if it is missing and prove that a file can be written there, before hours of work depend on it.

    What a killed run left half written is removed.

    Raises:
        OutputError: It cannot be made or written.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
        for left in path.glob(f".*{PARTIAL}"):
            left.unlink(missing_ok=True)
    except OSError as error:
        raise _explain(path, error) from error
    return path
