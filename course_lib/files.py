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
def explained(path: Path | str) -> Iterator[None]:
    """Turn the system's error on writing, bare or wrapped by a library, into one that says what to do.

    Raises:
        OutputError: what is written under `path` could not be.
    """
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise _explain(Path(path), error) from error
    except Exception as error:  # safetensors and torch pass the system's error on in their own
        if (inner := _system_error(error)) is None:
            raise
        raise _explain(Path(path), inner) from error


def _system_error(error: BaseException) -> OSError | None:
    """The error of the system that another one was raised for: its cause, its context, or the number in its text."""
    for before in (error.__cause__, error.__context__):
        if isinstance(before, OSError):
            return before
    _, _, tail = str(error).partition("os error ")  # safetensors: "I/O error: ... (os error 28)"
    number = tail.partition(")")[0]
    return OSError(int(number), os.strerror(int(number))) if number.isdecimal() else None


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
        readable(temporary)  # mkstemp's files are private to the user
        os.replace(temporary, path)
    except OSError as error:
        raise _explain(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def readable(path: Path) -> Path:
    """Give a file the permissions that a new file of this user has."""
    path.chmod(0o666 & ~_umask())
    return path


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
