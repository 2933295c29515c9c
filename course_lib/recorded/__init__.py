"""Small recorded runs: what takes too long to compute on a page is run once by a script and read from here.

Each JSON file stands beside the script of the same name that wrote it, `python -m course_lib.recorded.rate_sweep` for
`rate_sweep.json`, and says with which versions and on which machine. Chapters and widgets read it with `load`.
"""

import json
import platform
from pathlib import Path
from typing import Any

from course_lib.files import write_text

FOLDER = Path(__file__).parent


def exists(name: str) -> bool:
    """Whether there is a recording of that name."""
    return (FOLDER / f"{name}.json").is_file()


def load(name: str) -> dict[str, Any]:
    """Read a recording.

    Args:
        name: The script that made it, such as "rate_sweep".

    Returns:
        Its content; "made_by" says how to make it again and where it was made.

    Raises:
        ValueError: There is no such recording.
    """
    path = FOLDER / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(other.stem for other in FOLDER.glob("*.json")))
        raise ValueError(f"name: expected one of {known}; got {name!r}")
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def save(name: str, content: dict[str, Any]) -> Path:
    """Write a recording beside its script, with what another person needs to repeat it.

    Args:
        name: The script's own name.
        content: Plain lists, numbers, texts and dicts.

    Returns:
        The file written.
    """
    path = FOLDER / f"{name}.json"
    text = json.dumps({"made_by": _made_by(name), **content}, separators=(",", ":"), allow_nan=False)
    write_text(path, text + "\n")
    return path


def _made_by(name: str) -> dict[str, Any]:
    import torch

    from course_lib.hardware import detect

    return {
        "script": f"python -m course_lib.recorded.{name}",
        "versions": {"python": platform.python_version(), "torch": torch.__version__.split("+")[0]},
        "hardware": detect("cpu").name,
        "threads": torch.get_num_threads(),
    }
