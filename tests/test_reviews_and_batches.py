"""Tests of course_lib.data: what is shipped, damaged files, the hub (played by a server on this machine), batches."""

import builtins
import hashlib
import io
import json
import re
import sys
import threading
import types
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
import torch
from children import run_python
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib import data
from course_lib.data import (
    IGNORE_INDEX,
    PHENOMENA,
    REGISTERS,
    Batch,
    BatchSource,
    DataError,
    Review,
    ReviewBatches,
    TextBlocks,
    label_counts,
    load_reviews,
    load_text,
    pad,
    split_text,
)
from course_lib.data.reviews import POCKET_FOLDER, POCKET_SHA256
from course_lib.data.text import SHAKESPEARE_REPOSITORY, SHAKESPEARE_REVISION
from course_lib.tokenization import CharTokenizer, WordTokenizer

ROOT = Path(__file__).parents[1]
SIZES = {"train": 2500, "validation": 500, "test": 1000}


# --- the package ----------------------------------------------------------------------------------------------------


def test_importing_loads_no_heavy_package() -> None:
    code = "import course_lib.data, sys; print({'datasets', 'transformers', 'sklearn', 'pandas'} & set(sys.modules))"
    assert run_python(code).stdout == "set()\n"


def test_every_exported_name_exists() -> None:
    assert all(hasattr(data, name) for name in data.__all__)


# --- Pocket Reviews -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SIZES)
def test_pocket_splits_are_balanced_and_stratified(split: Any) -> None:
    reviews = load_reviews(split)
    assert len(reviews) == SIZES[split]
    assert label_counts(reviews) == {0: SIZES[split] // 2, 1: SIZES[split] // 2}
    shares = Counter(review.phenomenon for review in reviews)
    assert set(shares) == set(PHENOMENA)
    expected = {"plain": 0.52, "mixed": 0.17, "negation": 0.13, "implicit": 0.09, "sarcasm": 0.05, "comparison": 0.04}
    for phenomenon, share in expected.items():
        assert shares[phenomenon] / len(reviews) == pytest.approx(share, abs=0.01)
        zero, one = label_counts(review for review in reviews if review.phenomenon == phenomenon).values()
        assert abs(zero - one) <= 2
    registers = Counter(review.register for review in reviews)
    assert set(registers) == set(REGISTERS)
    assert registers["considered"] / len(reviews) == pytest.approx(0.54, abs=0.01)


def test_no_review_is_in_two_splits() -> None:
    everything = [review for split in SIZES for review in load_reviews(split)]  # type: ignore[arg-type]
    assert len({review.id for review in everything}) == len({review.text for review in everything}) == 4000


def test_the_datasheet_names_the_hashes_that_are_checked() -> None:
    text = (POCKET_FOLDER / "DATASHEET.md").read_text()
    assert all(sha256 in text for sha256 in POCKET_SHA256.values())


def test_shuffled_is_a_permutation_drawn_from_the_seed() -> None:
    first, again, other = load_reviews("test"), load_reviews("test"), load_reviews("test", seed=1)
    assert first == again
    assert first != other
    assert sorted(first, key=lambda review: review.id) == sorted(other, key=lambda review: review.id)


def test_shuffling_leaves_the_global_generator_alone() -> None:
    import random

    random.seed(5)
    expected = random.random()
    random.seed(5)
    load_reviews("validation", seed=3)
    assert random.random() == expected


def test_sorted_by_label_is_stable_and_its_first_rows_hold_one_class() -> None:
    reviews = load_reviews("train", order="sorted_by_label")
    assert [review.label for review in reviews] == [0] * 1250 + [1] * 1250
    for label in (0, 1):
        file_order = [json.loads(line) for line in (POCKET_FOLDER / "train.jsonl").read_text().splitlines()]
        ids = [row["id"] for row in file_order if row["label"] == label]
        assert [review.id for review in reviews if review.label == label] == ids
    assert label_counts(load_reviews("train", order="sorted_by_label", limit=1000)) == {0: 1000}


def test_limit_takes_the_first_rows_after_ordering() -> None:
    assert load_reviews("test", limit=7) == load_reviews("test")[:7]
    assert len(load_reviews("test", limit=1000)) == 1000
    for limit in (0, -1, 1001):
        with pytest.raises(ValueError, match=rf"limit must be from 1 to 1000, .* got {limit}"):
            load_reviews("test", limit=limit)


@pytest.mark.parametrize("argument", [{"split": "dev"}, {"source": "imbd"}, {"order": "random"}])
def test_a_misspelled_argument_is_named(argument: dict[str, Any]) -> None:
    ((name, value),) = argument.items()
    with pytest.raises(ValueError, match=rf"{name} must be one of .*; got '{value}'"):
        load_reviews(**argument)


def test_reviews_are_frozen_and_counts_leave_out_absent_labels() -> None:
    review = Review("a", "text", 1)
    with pytest.raises(FrozenInstanceError):
        review.label = 0  # type: ignore[misc]
    assert label_counts([review, review]) == {1: 2}
    assert label_counts([]) == {}


# --- damaged and own files ------------------------------------------------------------------------------------------

GOOD = {"id": "a", "text": "Good.", "label": 1, "phenomenon": "plain", "register": "everyday"}


def changed(**values: Any) -> bytes:
    return json.dumps({**GOOD, **values}).encode()


def without(key: str) -> bytes:
    return json.dumps({name: value for name, value in GOOD.items() if name != key}).encode()


DAMAGE = [
    (b'{"id": "b", "te', "not JSON"),
    (b"", "not JSON"),
    (b'{"id": "\xff"}', "not JSON"),
    (b"[1]", "expected a JSON object; got list"),
    (without("id"), 'missing key "id"'),
    (without("text"), 'missing key "text"'),
    (without("label"), 'missing key "label"'),
    (changed(id="b", label=2), '"label" must be 0 or 1; got 2'),
    (changed(id="b", label="1"), "\"label\" must be 0 or 1; got '1'"),
    (changed(id="b", label=True), '"label" must be 0 or 1; got True'),
    (changed(id="b", label=1.0), '"label" must be 0 or 1; got 1.0'),
    (changed(id="b", text=""), "\"text\" must be a string that is not empty; got ''"),
    (changed(id="b", text=" \n"), '"text" must be a string that is not empty'),
    (changed(id="b", text=None), '"text" must be a string that is not empty; got None'),
    (changed(id=7), '"id" must be a string that is not empty; got 7'),
    (changed(), "\"id\" 'a' was used before, in line 1"),
    (changed(id="b", phenomenon="irony"), 'unknown phenomenon: "phenomenon" must be one of plain'),
    (changed(id="b", phenomenon=["plain"]), "unknown phenomenon"),
    (changed(id="b", register="formal"), 'unknown register: "register" must be one of considered, everyday'),
]


@pytest.mark.parametrize(("line", "message"), DAMAGE)
def test_a_damaged_line_is_named_by_file_and_number(tmp_path: Path, line: bytes, message: str) -> None:
    (tmp_path / "train.jsonl").write_bytes(changed() + b"\n" + line + b"\n" + changed(id="c") + b"\n")
    with pytest.raises(DataError) as caught:
        load_reviews(folder=tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'train.jsonl'}:2: {message}")


def test_an_empty_own_file_is_damaged_in_its_first_line(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_bytes(b"")
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / 'train.jsonl'}:1: not JSON")):
        load_reviews(folder=tmp_path)


@pytest.fixture
def shipped_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("course_lib.data.reviews.POCKET_FOLDER", tmp_path)
    path = tmp_path / "test.jsonl"
    path.write_bytes((POCKET_FOLDER / "test.jsonl").read_bytes())
    assert len(load_reviews("test")) == 1000
    return path


def test_a_damaged_line_of_the_shipped_file_is_named_before_the_hash(shipped_copy: Path) -> None:
    lines = shipped_copy.read_bytes().split(b"\n")
    lines[16] = lines[16][:40]
    shipped_copy.write_bytes(b"\n".join(lines))
    with pytest.raises(DataError, match=re.escape(f"{shipped_copy}:17: not JSON")):
        load_reviews("test")


@pytest.mark.parametrize("key", ["phenomenon", "register"])
def test_the_shipped_file_needs_every_key(shipped_copy: Path, key: str) -> None:
    shipped_copy.write_bytes(without(key))
    with pytest.raises(DataError, match=re.escape(f'{shipped_copy}:1: missing key "{key}"')):
        load_reviews("test")


def test_a_changed_shipped_file_reports_both_hashes(shipped_copy: Path) -> None:
    raw = shipped_copy.read_bytes().replace(b"film", b"movie", 1)
    shipped_copy.write_bytes(raw)
    with pytest.raises(DataError) as caught:
        load_reviews("test")
    message = str(caught.value)
    assert message.startswith(f"{shipped_copy}: every line reads well")
    assert f"expected SHA-256 {POCKET_SHA256['test']}, got {hashlib.sha256(raw).hexdigest()}" in message
    assert "CRLF" not in message


def test_changed_line_endings_are_named_as_the_reason(shipped_copy: Path) -> None:
    shipped_copy.write_bytes(shipped_copy.read_bytes().replace(b"\n", b"\r\n"))
    with pytest.raises(DataError, match="its line endings were changed to CRLF"):
        load_reviews("test")


def test_a_missing_file_is_named_with_what_to_do(shipped_copy: Path, tmp_path: Path) -> None:
    shipped_copy.unlink()
    with pytest.raises(DataError, match=re.escape(f"{shipped_copy}: cannot be read") + ".*install the course again"):
        load_reviews("test")
    own = tmp_path / "own"
    with pytest.raises(DataError, match=re.escape(str(own / "train.jsonl")) + ".*write it there or name another"):
        load_reviews(folder=own)


def test_own_files_need_no_phenomenon_and_no_register(tmp_path: Path) -> None:
    rows = [{"id": "x", "text": "Great.\u2028Loved it.", "label": 1}, {"id": "y", "text": "Dull.", "label": 0}]
    rows.append({**GOOD, "id": "z", "phenomenon": None})
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)  # no newline at the end of the file
    (tmp_path / "validation.jsonl").write_text(text, encoding="utf-8")
    reviews = load_reviews("validation", folder=str(tmp_path), order="sorted_by_label")
    assert reviews[0] == Review("y", "Dull.", 0)
    assert reviews[1] == Review("x", "Great.\u2028Loved it.", 1)
    assert reviews[2] == Review("z", "Good.", 1, None, "everyday")


# --- the hub --------------------------------------------------------------------------------------------------------


class _HubHandler(BaseHTTPRequestHandler):
    """The routes of the hub that `datasets.load_dataset` asks for; `server.repositories`: name -> (commit, files)."""

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if found := re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._file(*found.groups())
        elif found := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/(revision|tree)/[^/]+/?(.*)", path):
            self._listing(*found.groups())
        else:
            self._reply(404, b"{}")

    do_HEAD = do_GET

    def _file(self, name: str, revision: str, path: str) -> None:
        commit, files = self.server.repositories.get(name, ("", {}))  # type: ignore[attr-defined]
        if path in files and revision in (commit, "main"):
            etag = f'"{hashlib.sha1(files[path]).hexdigest()}"'
            self._reply(200, files[path], {"ETag": etag, "X-Repo-Commit": commit})
        else:
            error = "EntryNotFound" if revision in (commit, "main") else "RevisionNotFound"
            self._reply(404, b"", {"X-Error-Code": error, "X-Repo-Commit": commit})

    def _listing(self, name: str, kind: str, folder: str) -> None:
        commit, files = self.server.repositories[name]  # type: ignore[attr-defined]
        if kind == "revision":
            answer: Any = {"id": name, "sha": commit, "siblings": [{"rfilename": path} for path in files]}
        else:
            start = f"{folder}/" if folder else ""
            inside = {start + path.removeprefix(start).split("/")[0] for path in files if path.startswith(start)}
            answer = [
                {"type": "file", "path": path, "oid": "0" * 40, "size": len(files[path])}
                if path in files
                else {"type": "directory", "path": path, "oid": "0" * 40, "size": 0}
                for path in sorted(inside)
            ]
        self._reply(200, json.dumps(answer).encode())

    def _reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def parquet(**columns: list[Any]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def card(config: str, folder: str, splits: list[str]) -> bytes:
    rows = "".join(f"  - split: {split}\n    path: {folder}/{split}-*\n" for split in splits)
    return f"---\nconfigs:\n- config_name: {config}\n  data_files:\n{rows}---\n".encode()


IMDB_COMMIT = "e6281661ce1c48d982bc483cf8a173c1bbeb5d31"
IMDB_FILES = {
    "README.md": card("plain_text", "plain_text", ["train", "test"]),
    "plain_text/train-00000-of-00001.parquet": parquet(
        text=[f"film {i}<br />" for i in range(6)], label=[0] * 3 + [1] * 3
    ),
    "plain_text/test-00000-of-00001.parquet": parquet(text=["no", "yes"], label=[0, 1]),
}
PLAY = {"train": "First Citizen:\nBefore we proceed", "validation": " any further,\n", "test": "hear me speak.\n"}
PLAY_FILES = {
    "README.md": card("default", "data", list(PLAY)),
    **{f"data/{split}-00000-of-00001.parquet": parquet(text=[text]) for split, text in PLAY.items()},
}


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    """Address of a hub with a six-row IMDB and a three-line Shakespeare."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _HubHandler)
    server.repositories = {  # type: ignore[attr-defined]
        "stanfordnlp/imdb": (IMDB_COMMIT, IMDB_FILES),
        SHAKESPEARE_REPOSITORY: (SHAKESPEARE_REVISION, PLAY_FILES),
    }
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


OFFLINE_SWITCHES = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
HUB_CALLS = """
import json
from course_lib.data import load_reviews, load_text
laid_out = load_reviews("train", source="imdb", order="sorted_by_label")
print(json.dumps({
    "laid_out": [[r.id, r.text, r.label, r.phenomenon, r.register] for r in laid_out],
    "shuffled": [r.id for r in load_reviews("train", source="imdb", seed=1)],
    "test": [r.text for r in load_reviews("test", source="imdb", order="sorted_by_label", limit=1)],
    "play": load_text("shakespeare"),
}))
"""


def test_the_hub_is_read_by_the_real_load_dataset_and_again_offline_from_its_cache(hub: str, tmp_path: Path) -> None:
    environment = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": hub, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    # "Online" reaches this machine's server only; the network stays cut for the child as well.
    online = run_python(HUB_CALLS, **environment, **dict.fromkeys(OFFLINE_SWITCHES, "0"))
    assert online.returncode == 0, online.stderr
    found = json.loads(online.stdout)
    assert found["laid_out"] == [[f"imdb-train-0000{i}", f"film {i}<br />", int(i > 2), None, None] for i in range(6)]
    assert sorted(found["shuffled"]) == [f"imdb-train-0000{i}" for i in range(6)] != found["shuffled"]
    assert found["test"] == ["no"]
    assert found["play"] == "".join(PLAY.values())
    environment["HF_ENDPOINT"] = "http://127.0.0.1:9"  # nobody listens there
    offline = run_python(HUB_CALLS, **environment, **dict.fromkeys(OFFLINE_SWITCHES, "1"))
    assert offline.returncode == 0, offline.stderr
    assert json.loads(offline.stdout) == found


def test_an_unreachable_hub_is_an_error_with_advice_and_no_other_data(tmp_path: Path) -> None:
    code = """
from course_lib.data import DataError, load_reviews, load_text
for call in (lambda: load_reviews(source="imdb"), lambda: load_text("shakespeare")):
    try:
        call()
    except DataError as error:
        print(error)
"""
    result = run_python(code, HF_HOME=str(tmp_path), **dict.fromkeys(OFFLINE_SWITCHES, "1"))
    imdb, play = result.stdout.splitlines()
    assert imdb.startswith(
        "could not load 'stanfordnlp/imdb' (split 'train') from the Hugging Face hub: ConnectionError"
    )
    assert play.startswith(f"could not load '{SHAKESPEARE_REPOSITORY}' (split 'train')")
    for message, offline in ((imdb, 'load_reviews(source="pocket")'), (play, 'load_text("manual")')):
        assert "run the same call once with a connection" in message
        assert offline in message


def fake_datasets(monkeypatch: pytest.MonkeyPatch, load_dataset: Callable[..., Any]) -> None:
    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))


@pytest.mark.parametrize("error", [ConnectionError("down"), FileNotFoundError("gone"), RuntimeError("script")])
def test_what_load_dataset_raises_stays_readable(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*arguments: Any, **options: Any) -> Any:
        raise error

    fake_datasets(monkeypatch, fail)
    with pytest.raises(DataError, match=f"{type(error).__name__}: {error}") as caught:
        load_reviews("test", source="imdb")
    assert caught.value.__cause__ is error


def test_a_fault_in_the_program_is_not_dressed_up_as_a_hub_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> Any:
        raise TypeError("wrong call")

    fake_datasets(monkeypatch, fail)
    with pytest.raises(TypeError, match="wrong call"):
        load_reviews("test", source="imdb")


def test_imdb_has_no_validation_and_takes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match='no "validation": load split="train" and hold out'):
        load_reviews("validation", source="imdb")
    with pytest.raises(ValueError, match="folder is for your own JSONL files"):
        load_reviews(source="imdb", folder=tmp_path)


# --- running text ---------------------------------------------------------------------------------------------------


def test_the_manual_is_long_and_always_the_same() -> None:
    text = load_text()
    assert text == load_text("manual")
    assert len(text) > 400_000
    assert 80 < len(set(text)) < 300
    if sys.version_info[:2] == (3, 11):
        assert len(text) == pytest.approx(465_126, abs=5_000)


def test_a_python_without_its_manual_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("pydoc_data"):
            raise ModuleNotFoundError("No module named 'pydoc_data'")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(DataError, match=r'without its manual .* use a Python from .* or load_text\("shakespeare"\)'):
        load_text()


def test_text_source_is_checked() -> None:
    with pytest.raises(ValueError, match='source must be "manual" or "shakespeare"; got \'bible\''):
        load_text("bible")  # type: ignore[arg-type]


def test_split_text_holds_out_the_end() -> None:
    assert split_text("0123456789") == ("012345678", "9")
    assert split_text("0123456789", 0.9) == ("0", "123456789")
    train, held_out = split_text("x" * 1_115_394)
    assert (len(train), len(held_out)) == (1_003_854, 111_540)  # nanoGPT's counts for tiny Shakespeare


@settings(deadline=None)  # the machine may be busy
@given(st.text(min_size=2, max_size=200), st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_the_parts_of_a_text_join_to_it(text: str, share: float) -> None:
    if not 1 <= int(round(len(text) * (1 - share), 6)) < len(text):
        with pytest.raises(ValueError, match="leaves one part empty"):
            split_text(text, share)
    else:
        train, held_out = split_text(text, share)
        assert train + held_out == text
        assert min(len(train), len(held_out)) > 0
        assert abs(len(held_out) - share * len(text)) < 1.001


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
def test_a_share_outside_zero_to_one_is_an_error(share: float) -> None:
    with pytest.raises(ValueError, match=f"between 0 and 1, both excluded; got {share}"):
        split_text("some text", share)


@pytest.mark.parametrize(("text", "share"), [("", 0.1), ("a", 0.5), ("abc", 0.9)])
def test_an_empty_part_is_an_error(text: str, share: float) -> None:
    with pytest.raises(ValueError, match=f"of {len(text)} characters leaves one part empty"):
        split_text(text, share)


# --- padding --------------------------------------------------------------------------------------------------------


def test_pad_on_either_side() -> None:
    ids, mask = pad([[5, 6, 7], [8]])
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert mask.tolist() == [[True, True, True], [True, False, False]]
    assert (ids.dtype, mask.dtype) == (torch.int64, torch.bool)
    ids, mask = pad([[5, 6, 7], [8]], side="left", pad_id=9, length=4)
    assert ids.tolist() == [[9, 5, 6, 7], [9, 9, 9, 8]]
    assert mask.tolist() == [[False, True, True, True], [False, False, False, True]]


def test_pad_keeps_the_start_of_a_long_sequence_on_either_side() -> None:
    assert pad([[1, 2, 3, 4], [5]], max_length=2)[0].tolist() == [[1, 2], [5, 0]]
    assert pad([[1, 2, 3, 4], [5]], max_length=2, side="left")[0].tolist() == [[1, 2], [0, 5]]


@pytest.mark.parametrize(
    ("sequences", "options", "message"),
    [
        ([], {}, "at least one sequence; got none"),
        ([[1], [], [2]], {}, "sequence 1 is empty"),
        ([[1, 2, 3]], {"length": 2}, "length=2 is shorter than a sequence of 3: raise it or set max_length"),
        ([[1]], {"max_length": 0}, "max_length must be at least 1, or None; got 0"),
        ([[1]], {"side": "top"}, 'side must be "right" or "left"; got \'top\''),
    ],
)
def test_pad_refuses(sequences: list[list[int]], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pad(sequences, **options)


SEQUENCES = st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=9), min_size=1, max_size=20)


@settings(deadline=None)  # the machine may be busy
@given(SEQUENCES, st.sampled_from(["left", "right"]), st.integers(1, 12))
def test_the_mask_gives_back_the_cut_sequences(sequences: list[list[int]], side: Any, max_length: int) -> None:
    ids, mask = pad(sequences, side=side, max_length=max_length)
    assert [row[keep].tolist() for row, keep in zip(ids, mask, strict=True)] == [s[:max_length] for s in sequences]


def test_a_batch_checks_its_shapes_and_moves_as_a_whole() -> None:
    batch = Batch(torch.zeros(2, 3, dtype=torch.int64), torch.ones(2, 3, dtype=torch.bool), torch.tensor([0, 1]))
    assert len(batch) == 2
    moved = batch.to("meta")
    assert {tensor.device.type for tensor in (moved.inputs, moved.mask, moved.targets)} == {"meta"}
    with pytest.raises(ValueError, match=r"shape of inputs \(2, 3\).*got mask \(2, 2\)"):
        Batch(batch.inputs, batch.mask[:, :2], batch.targets)
    with pytest.raises(ValueError, match=r"targets \(3,\)"):
        Batch(batch.inputs, batch.mask, torch.zeros(3))


# --- batches of reviews ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pocket() -> tuple[list[list[int]], list[int]]:
    reviews = load_reviews("train")
    tokenizer = WordTokenizer.fit(review.text for review in reviews)
    return [tokenizer.encode(review.text) for review in reviews], [review.label for review in reviews]


def same(first: Batch, second: Batch) -> bool:
    pairs = [(first.inputs, second.inputs), (first.mask, second.mask), (first.targets, second.targets)]
    return all(torch.equal(a, b) for a, b in pairs)


def all_same(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(same(a, b) for a, b in zip(first, second, strict=True))


@settings(deadline=None)  # the machine may be busy
@given(
    SEQUENCES, st.integers(1, 7), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 3), st.integers(0, 2**40)
)
def test_an_epoch_holds_every_index_once(
    sequences: list[list[int]], size: int, bucket: bool, shuffle: bool, drop_last: bool, number: int, seed: int
) -> None:
    drop_last = drop_last and len(sequences) >= size
    batches = ReviewBatches(
        sequences,
        [0] * len(sequences),
        batch_size=size,
        bucket=bucket,
        shuffle=shuffle,
        drop_last=drop_last,
        seed=seed,
    )
    plan = batches.plan(number)
    used = [index for indices in plan for index in indices]
    assert len(plan) == len(batches)
    assert all(len(indices) == size for indices in plan[:-1])
    if drop_last:
        assert len(plan[-1]) == size
        assert len(set(used)) == len(used) == len(sequences) // size * size
    else:
        assert sorted(used) == list(range(len(sequences)))


@pytest.mark.parametrize("bucket", [True, False])
def test_batches_carry_their_sequences_and_labels(bucket: bool, pocket: tuple[list[list[int]], list[int]]) -> None:
    sequences, labels = pocket
    source: BatchSource = (batches := ReviewBatches(sequences, labels, batch_size=32, bucket=bucket, max_length=50))
    assert len(source) == 79
    for indices, batch in zip(batches.plan(2), source.epoch(2), strict=True):
        assert batch.targets.tolist() == [labels[i] for i in indices]
        rows = [row[keep].tolist() for row, keep in zip(batch.inputs, batch.mask, strict=True)]
        assert rows == [sequences[i][:50] for i in indices]
        assert batch.inputs.shape[1] == max(map(len, rows))
    assert len(batch) == 2500 % 32  # the last one is ragged


def test_left_padding_and_a_fixed_width() -> None:
    batches = ReviewBatches([[1, 2], [3]], [0, 1], batch_size=2, shuffle=False, bucket=False, pad_side="left", pad_to=4)
    (batch,) = batches.epoch(0)
    assert batch.inputs.tolist() == [[0, 0, 1, 2], [0, 0, 0, 3]]
    assert batch.mask.sum(1).tolist() == [2, 1]
    assert batches.padding_share(0) == pytest.approx(5 / 8)


@pytest.mark.parametrize("bucket", [True, False])
def test_two_sources_agree_and_epochs_and_seeds_differ(bucket: bool, pocket: tuple[list[list[int]], list[int]]) -> None:
    first = ReviewBatches(*pocket, batch_size=64, bucket=bucket)
    list(first.epoch(5))  # what was asked for before must not matter
    second = ReviewBatches(*pocket, batch_size=64, bucket=bucket)
    assert all_same(list(first.epoch(1)), list(second.epoch(1)))
    assert first.plan(0) != first.plan(1)
    assert first.plan(0) != ReviewBatches(*pocket, batch_size=64, bucket=bucket, seed=1).plan(0)


def test_bucketed_batches_change_their_company_and_their_order(pocket: tuple[list[list[int]], list[int]]) -> None:
    batches = ReviewBatches(*pocket, batch_size=16)
    assert not {frozenset(b) for b in batches.plan(0)} & {frozenset(b) for b in batches.plan(1)}
    widths = [batch.inputs.shape[1] for batch in batches.epoch(0)]
    assert widths != sorted(widths)
    assert abs(np.corrcoef(np.arange(len(widths)), widths)[0, 1]) < 0.3


def test_without_shuffling_every_epoch_is_the_same(pocket: tuple[list[list[int]], list[int]]) -> None:
    plain = ReviewBatches(*pocket, batch_size=100, shuffle=False, bucket=False)
    assert [i for indices in plain.plan(3) for i in indices] == list(range(2500))
    bucketed = ReviewBatches(*pocket, batch_size=100, shuffle=False)
    assert bucketed.plan(0) == bucketed.plan(1)
    lengths = [len(pocket[0][i]) for indices in bucketed.plan(0) for i in indices]
    assert lengths == sorted(lengths)


@pytest.mark.parametrize("start", [0, 1, 40, 78, 79])
def test_resuming_gives_the_tail_of_the_epoch(start: int, pocket: tuple[list[list[int]], list[int]]) -> None:
    batches = ReviewBatches(*pocket, batch_size=32)
    assert all_same(list(batches.epoch(3, start=start)), list(batches.epoch(3))[start:])


def test_skipped_batches_are_not_collated(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = ReviewBatches([[1]] * 10, [0] * 10, batch_size=2)
    collated: list[list[int]] = []
    monkeypatch.setattr(ReviewBatches, "_collate", lambda self, indices: collated.append(indices))
    assert len(list(batches.epoch(0, start=3))) == len(collated) == 2


def test_buckets_save_most_of_the_padding_on_the_real_reviews(pocket: tuple[list[list[int]], list[int]]) -> None:
    bucketed, random = (ReviewBatches(*pocket, batch_size=16, bucket=bucket) for bucket in (True, False))
    for number in range(3):
        assert bucketed.padding_share(number) < 0.12
        assert random.padding_share(number) > 0.45
    masks = [batch.mask for batch in random.epoch(0)]
    padding = sum(int((~mask).sum()) for mask in masks)
    assert random.padding_share(0) == pytest.approx(padding / sum(mask.numel() for mask in masks))


def test_dropping_the_last_batch_spares_no_length_for_ever() -> None:
    lengths = [1] * 16 + [9]  # with the longest always dropped, index 16 would never be seen
    batches = ReviewBatches([[1] * n for n in lengths], [0] * 17, batch_size=4, drop_last=True)
    assert sum(any(16 in indices for indices in batches.plan(number)) for number in range(20)) > 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": [0]}, "must be equally many; got 2 and 1"),
        ({"sequences": [], "labels": []}, "at least one sequence; got none"),
        ({"sequences": [[1], []]}, "sequence 1 is empty"),
        ({"batch_size": 0}, "batch_size must be at least 1; got 0"),
        ({"labels": [0, -1]}, r"labels must be integers >= 0; labels\[1\] is -1"),
        ({"labels": [0.0, 1]}, r"labels\[0\] is 0.0"),
        ({"labels": ["1", 1]}, r"labels\[0\] is '1'"),
        ({"labels": [0, True]}, r"labels\[1\] is True"),
        ({"seed": -1}, "seed must be at least 0; got -1"),
        ({"max_length": 0}, "max_length must be at least 1; got 0"),
        ({"pad_side": "both"}, "pad_side must be .* got 'both'"),
        ({"pad_to": 1}, r"pad_to=1 is shorter than the longest sequence \(2 tokens with max_length=256\)"),
        ({"drop_last": True, "batch_size": 3}, "drop_last leaves no batch: 2 sequences, batch_size 3"),
    ],
)
def test_review_batches_refuse(options: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"sequences": [[1, 2], [3]], "labels": [0, 1], "batch_size": 2, **options}
    with pytest.raises(ValueError, match=message):
        ReviewBatches(arguments.pop("sequences"), arguments.pop("labels"), **arguments)


def test_labels_of_other_integer_types_are_accepted() -> None:
    batches = ReviewBatches([[1], [2]], np.array([0, 2]), batch_size=2, shuffle=False)  # type: ignore[arg-type]
    assert next(batches.epoch(0)).targets.tolist() == [0, 2]


@pytest.mark.parametrize("kind", ["reviews", "text"])
def test_epoch_numbers_and_starts_are_checked_at_the_call(kind: str) -> None:
    source: BatchSource = (
        ReviewBatches([[1], [2]], [0, 1], batch_size=1)
        if kind == "reviews"
        else TextBlocks([1, 2, 3], block_size=1, batch_size=1)
    )
    assert list(source.epoch(0, start=2)) == []
    for start in (-1, 3):
        with pytest.raises(ValueError, match=f"start must be from 0 to 2, the batches of an epoch; got {start}"):
            source.epoch(0, start=start)
    with pytest.raises(ValueError, match="epoch number must be at least 0; got -1"):
        source.epoch(-1)


# --- blocks of text -------------------------------------------------------------------------------------------------


def test_targets_are_the_inputs_shifted_by_one() -> None:
    text = load_text()[:5000]
    blocks = TextBlocks(CharTokenizer.fit(text).encode(text), block_size=16, batch_size=4)
    assert len(blocks) == 79  # 4,999 predictions are 313 blocks of 16, the last one short; 313 blocks are 79 batches
    for batch in blocks.epoch(0):
        assert batch.inputs.shape == batch.targets.shape == batch.mask.shape == (4, 16)
        assert torch.equal(batch.inputs[:, 1:], batch.targets[:, :-1])
        assert batch.mask.all()


def test_random_starts_reach_the_first_and_the_last_position() -> None:
    blocks = TextBlocks(range(10), block_size=4, batch_size=8, batches_per_epoch=50)
    batches = list(blocks.epoch(0))
    assert len(batches) == len(blocks) == 50
    starts = torch.cat([batch.inputs[:, 0] for batch in batches])
    assert set(starts.tolist()) == set(range(6))
    for batch in batches:
        assert torch.equal(batch.targets, batch.inputs + 1)  # the ids count upwards, so the next id is the id plus one


def test_random_blocks_are_a_function_of_seed_epoch_and_batch() -> None:
    ids = np.random.default_rng(0).integers(0, 50, 2000)
    first, second = (TextBlocks(ids, block_size=8, batch_size=4) for _ in range(2))
    list(first.epoch(4))
    assert all_same(list(first.epoch(1)), list(second.epoch(1)))
    assert all_same(list(first.epoch(1, start=60)), list(first.epoch(1))[60:])
    assert not same(next(first.epoch(0)), next(first.epoch(1)))
    assert not same(next(first.epoch(0)), next(first.epoch(0, start=1)))
    assert not same(next(first.epoch(0)), next(TextBlocks(ids, block_size=8, batch_size=4, seed=1).epoch(0)))
    ids[:] = 0  # the source keeps its own copy
    assert all_same(list(first.epoch(2)), list(second.epoch(2)))
    assert next(first.epoch(0)).inputs.any()


@settings(deadline=None)  # the machine may be busy
@given(st.integers(2, 60), st.integers(1, 12), st.integers(1, 5))
def test_a_walk_counts_every_prediction_once(n: int, block_size: int, batch_size: int) -> None:
    n = max(n, block_size + 1)
    ids = torch.arange(100, 100 + n)
    walk = TextBlocks(ids, block_size=block_size, batch_size=batch_size, shuffle=False)
    batches = list(walk.epoch(0))
    assert len(batches) == len(walk)
    assert torch.equal(torch.cat([b.inputs[b.mask] for b in batches]), ids[:-1])
    assert torch.equal(torch.cat([b.targets[b.mask] for b in batches]), ids[1:])
    for batch in batches:
        assert (batch.targets[~batch.mask] == IGNORE_INDEX).all()
        assert (batch.inputs[~batch.mask] == 0).all()
        assert batch.inputs.shape[1] == block_size
        assert batch.mask.any(1).all()  # no row of padding alone
    assert all(len(batch) == batch_size for batch in batches[:-1])
    start = len(walk) // 2
    assert all_same(list(walk.epoch(7, start=start)), batches[start:])


def test_the_ragged_end_of_a_walk() -> None:
    batches = list(TextBlocks([5, 6, 7, 8, 9, 3], block_size=2, batch_size=2, shuffle=False).epoch(0))
    assert [batch.inputs.tolist() for batch in batches] == [[[5, 6], [7, 8]], [[9, 0]]]
    assert [batch.targets.tolist() for batch in batches] == [[[6, 7], [8, 9]], [[3, IGNORE_INDEX]]]
    assert batches[1].mask.tolist() == [[True, False]]


def test_cross_entropy_leaves_the_padding_out() -> None:
    assert torch.nn.CrossEntropyLoss().ignore_index == IGNORE_INDEX


@pytest.mark.parametrize(
    ("ids", "options", "message"),
    [
        ([1, 2, 3], {"block_size": 3}, r"at least block_size \+ 1 = 4 ids.*got 3"),
        ([], {}, r"at least block_size \+ 1 = 2 ids.*got 0"),
        ([[1, 2], [3, 4]], {}, r"shape \(N,\); got shape \(2, 2\)"),
        ([1.0, 2.0], {}, "ids must be integers; got float64"),
        ([True, False], {}, "ids must be integers; got bool"),
        ([4, -1, 2], {}, "ids must be at least 0; got -1 at position 1"),
        ([1, 2], {"block_size": 0}, "block_size must be at least 1; got 0"),
        ([1, 2], {"batch_size": 0}, "batch_size must be at least 1; got 0"),
        ([1, 2], {"seed": -3}, "seed must be at least 0; got -3"),
        ([1, 2], {"batches_per_epoch": 0}, "batches_per_epoch must be at least 1; got 0"),
        ([1, 2], {"batches_per_epoch": 1, "shuffle": False}, "batches_per_epoch needs shuffle=True"),
    ],
)
def test_text_blocks_refuse(ids: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TextBlocks(ids, **{"block_size": 1, "batch_size": 1, **options})


@pytest.mark.parametrize("ids", [np.arange(9, dtype=np.uint16), torch.arange(9, dtype=torch.int32), list(range(9))])
def test_ids_of_every_integer_type_become_int64(ids: Any) -> None:
    if isinstance(ids, np.ndarray):
        ids.flags.writeable = False  # as a memory map of a file is
    batch = next(TextBlocks(ids, block_size=8, batch_size=1).epoch(0))
    assert batch.inputs.dtype == batch.targets.dtype == torch.int64
    assert batch.targets.tolist() == [list(range(1, 9))]


def test_no_source_touches_the_global_generators() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    list(TextBlocks([1] * 50, block_size=4, batch_size=2).epoch(0))
    list(ReviewBatches([[1]] * 9, [0] * 9, batch_size=2).epoch(0))
    assert torch.equal(torch.rand(1), expected)
