"""Labeled film reviews: the shipped Pocket Reviews, your own JSONL files, or IMDB from the hub (chapter 3).

Labels are 1 = would recommend (positive) and 0 = would not (negative). The order of the rows is an argument, since it
matters: the hub's IMDB lists all negative reviews before all positive ones, so its first 5,000 rows teach nothing.
"""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from course_lib.data.hub import DataError, load_hub_split

Split = Literal["train", "validation", "test"]
Source = Literal["pocket", "imdb"]
Order = Literal["shuffled", "sorted_by_label"]

POCKET_FOLDER = Path(__file__).parent / "pocket_reviews"
POCKET_SHA256 = {
    "train": "0ad7f20d782c7632b94403fd8f23fab665eba36e49811ced133f498859cb8fac",
    "validation": "76f5cd4be703122477a92cc31f32b6938a21218fb1612a8256ee06f2e9889bde",
    "test": "929d8ae6f8b99b4244059f405241a49f1bcf35a220cb42b042bbe08db93822fd",
}
PHENOMENA = ("plain", "mixed", "negation", "implicit", "sarcasm", "comparison")
REGISTERS = ("considered", "everyday")
IMDB_REPOSITORY = "stanfordnlp/imdb"


@dataclass(frozen=True)
class Review:
    """One review. `phenomenon` says how the opinion is expressed, `register` in what style; IMDB has neither."""

    id: str
    text: str
    label: int
    phenomenon: str | None = None
    register: str | None = None


def load_reviews(
    split: Split = "train",
    *,
    source: Source = "pocket",
    order: Order = "shuffled",
    limit: int | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
) -> list[Review]:
    """Load the reviews of one split.

    Args:
        split: "train", "validation" or "test"; IMDB has no "validation".
        source: "pocket" is shipped with the course and needs no network; "imdb" is `stanfordnlp/imdb` from the hub.
        order: "shuffled" draws a permutation from `seed`; "sorted_by_label" puts label 0 before label 1 and changes
            nothing else, which is how the hub's IMDB is laid out.
        limit: how many reviews to keep from the start, after ordering; None keeps all.
        seed: decides the permutation of "shuffled".
        folder: a folder with your own train.jsonl, validation.jsonl or test.jsonl in the schema of DATASHEET.md
            (phenomenon and register may be left out); read instead of the shipped files.

    Returns:
        The reviews in the order asked for. IMDB texts keep their `<br />` tags.

    Raises:
        DataError: a file is missing or damaged (the message names file and line), or the hub is out of reach.
        ValueError: an argument has a value that is not listed above.
    """
    _check_choice("split", split, POCKET_SHA256)
    _check_choice("source", source, ("pocket", "imdb"))
    _check_choice("order", order, ("shuffled", "sorted_by_label"))
    if source == "imdb":
        if folder is not None:
            raise ValueError('folder is for your own JSONL files with source="pocket"; source="imdb" reads the hub')
        reviews = _load_imdb(split)
    else:
        path = (POCKET_FOLDER if folder is None else Path(folder)) / f"{split}.jsonl"
        reviews = _read_jsonl(path, sha256=POCKET_SHA256[split] if folder is None else None)
    if limit is not None and not 1 <= limit <= len(reviews):
        raise ValueError(f"limit must be from 1 to {len(reviews)}, the size of this split, or None; got {limit}")
    if order == "shuffled":
        random.Random(seed).shuffle(reviews)
    else:
        reviews.sort(key=lambda review: review.label)
    return reviews[:limit]


def label_counts(reviews: Iterable[Review]) -> dict[int, int]:
    """Count the reviews of each label. Look at it before training: one label alone is a spoiled split.

    Returns:
        Label -> number of reviews, smallest label first; labels that do not occur are absent.
    """
    return dict(sorted(Counter(review.label for review in reviews).items()))


def _check_choice(name: str, value: str, choices: Collection[str]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}; got {value!r}")


def _load_imdb(split: str) -> list[Review]:
    if split == "validation":
        raise DataError(
            f'{IMDB_REPOSITORY} has the splits "train" and "test" and no "validation": load split="train" and hold '
            "out some of it, for example reviews[:20_000] to train and reviews[20_000:] to validate. Keep the test "
            "split for the end"
        )
    rows = load_hub_split(IMDB_REPOSITORY, split, offline='load_reviews(source="pocket") is shipped with the course')
    return [
        Review(id=f"imdb-{split}-{number:05d}", text=row["text"], label=row["label"]) for number, row in enumerate(rows)
    ]


def _read_jsonl(path: Path, sha256: str | None) -> list[Review]:
    """Read and check one JSONL file; sha256 None is a person's own file, whose extra columns may be missing."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        remedy = "write it there or name another folder" if sha256 is None else "install the course again"
        raise DataError(f"{path}: cannot be read ({error.strerror}): {remedy}") from error
    reviews: list[Review] = []
    lines_of: dict[str, int] = {}
    # Split at \n alone: str.splitlines would also cut at rarer characters that a review may contain.
    for number, line in enumerate(raw.removesuffix(b"\n").split(b"\n"), start=1):
        try:
            review = _parse_review(line, tags_required=sha256 is not None)
            if review.id in lines_of:
                raise ValueError(f'"id" {review.id!r} was used before, in line {lines_of[review.id]}')
        except ValueError as error:
            raise DataError(f"{path}:{number}: {error}") from error
        lines_of[review.id] = number
        reviews.append(review)
    # Last, since "line 17 is not JSON" tells more than "the hash differs".
    actual = hashlib.sha256(raw).hexdigest()
    if sha256 is not None and actual != sha256:
        hint = " (its line endings were changed to CRLF)" if b"\r\n" in raw else ""
        raise DataError(
            f"{path}: every line reads well, but it is not the file the course was made with{hint}: expected SHA-256 "
            f"{sha256}, got {actual}. Restore it, or put your version into another folder and pass folder="
        )
    return reviews


def _parse_review(line: bytes, tags_required: bool) -> Review:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"not JSON ({error})") from error
    if not isinstance(row, dict):
        raise ValueError(f"expected a JSON object; got {type(row).__name__}")
    required = ("id", "text", "label", "phenomenon", "register") if tags_required else ("id", "text", "label")
    for key in required:
        if key not in row:
            raise ValueError(f'missing key "{key}"')
    for key in ("id", "text"):
        if not isinstance(row[key], str) or not row[key].strip():
            raise ValueError(f'"{key}" must be a string that is not empty; got {row[key]!r}')
    # JSON's true would pass as 1 and 1.0 as 1: a label of another type is a sign of a faulty export.
    if type(row["label"]) is not int or row["label"] not in (0, 1):
        raise ValueError(f'"label" must be 0 or 1; got {row["label"]!r}')
    _check_tag(row, "phenomenon", PHENOMENA, tags_required)
    _check_tag(row, "register", REGISTERS, tags_required)
    return Review(row["id"], row["text"], row["label"], row.get("phenomenon"), row.get("register"))


def _check_tag(row: dict[str, Any], key: str, known: tuple[str, ...], required: bool) -> None:
    value = row.get(key)
    if value not in known and (required or value is not None):
        raise ValueError(f'unknown {key}: "{key}" must be one of {", ".join(known)}; got {value!r}')
