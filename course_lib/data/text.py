"""Running text for language models: the Python manual, or tiny Shakespeare from the hub (chapter 18).

A language model needs no labels: the next character is the answer. So any long text will do, and every CPython carries
one: its reference manual, which `help()` shows.
"""

from typing import Literal

from course_lib.data.hub import DataError, load_hub_split

TextSource = Literal["manual", "shakespeare"]

# The repository's main branch still holds a loading script, which `datasets` no longer runs. This commit of its open
# pull request 2 holds the same text as parquet; a commit cannot change afterwards.
SHAKESPEARE_REPOSITORY = "karpathy/tiny_shakespeare"
SHAKESPEARE_REVISION = "fe12e06d82fe3af4291b90426557387520d81385"


def load_text(source: TextSource = "manual") -> str:
    """Load one long text.

    Args:
        source: "manual" is the manual inside the running Python (465,126 characters, 103 distinct, in Python 3.11).
            Other versions carry other editions, so losses compare only within one version of Python. "shakespeare" is
            tiny Shakespeare (1,115,394 characters, 65 distinct) from the hub.

    Returns:
        The whole text; see `split_text` for holding out a part.

    Raises:
        DataError: this Python has no manual, or the hub is out of reach.
        ValueError: source is neither of the two.
    """
    if source == "manual":
        return _manual()
    if source == "shakespeare":
        return _shakespeare()
    raise ValueError(f'source must be "manual" or "shakespeare"; got {source!r}')


def split_text(text: str, held_out: float = 0.1) -> tuple[str, str]:
    """Cut a text in two: the start to train on, the end held out to evaluate on.

    A cut, and no random choice of characters: neighbors share words, so scattered held-out characters would leak.

    Args:
        text: the text to cut.
        held_out: share of the characters to hold out, between 0 and 1.

    Returns:
        The training part and the held-out part; joined they are the text.

    Raises:
        ValueError: held_out is not between 0 and 1, or a part would be empty.
    """
    if not 0 < held_out < 1:
        raise ValueError(f"held_out must lie between 0 and 1, both excluded; got {held_out}")
    # Rounded first: 10 * (1 - 0.9) is 0.9999999999999998 in floating point, and one character is meant.
    cut = int(round(len(text) * (1 - held_out), 6))
    if cut in (0, len(text)):
        raise ValueError(
            f"held_out={held_out} of {len(text)} characters leaves one part empty: take a longer text or another share"
        )
    return text[:cut], text[cut:]


def _manual() -> str:
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise DataError(
            "this Python was installed without its manual (the module pydoc_data.topics): use a Python from "
            'python.org, conda or uv, or load_text("shakespeare") with a connection'
        ) from error
    # Sorted, since the order inside the module has changed between versions.
    return "\n\n".join(topics[name] for name in sorted(topics))


def _shakespeare() -> str:
    parts: list[str] = []
    # The three splits are consecutive pieces of one file; together they are that file, and split_text cuts anew.
    for split in ("train", "validation", "test"):
        rows = load_hub_split(
            SHAKESPEARE_REPOSITORY,
            split,
            revision=SHAKESPEARE_REVISION,
            offline='load_text("manual") needs only Python',
        )
        parts.extend(row["text"] for row in rows)
    return "".join(parts)
