"""Tests of course_lib.tokenization: round trips, ties, unknown pieces, and files that cannot be trusted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.tokenization import PAD, PAD_ID, UNK, UNK_ID, CharTokenizer, WordTokenizer, split_words

# Text that meets the awkward cases often: apostrophes, special tokens, capitals that lower to two characters.
AWKWARD = st.sampled_from([PAD, UNK, "don't", "Don’t", "İ", "ΑΣ", "'", "_", " "])
TEXTS = st.lists(st.one_of(st.text(max_size=8), AWKWARD)).map(lambda pieces: "".join(pieces))


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        ("  \n\t ", []),
        ("Good film!", ["good", "film", "!"]),
        ("Don't", ["don't"]),
        ("Don’t", ["don't"]),
        ("rock'n'roll", ["rock'n'roll"]),
        ("'quoted'", ["'", "quoted", "'"]),
        ("the dogs’ tails", ["the", "dogs", "'", "tails"]),
        ("2001: 8.5/10", ["2001", ":", "8", ".", "5", "/", "10"]),
        ("snake_case", ["snake", "_", "case"]),
        ("well-made...", ["well", "-", "made", ".", ".", "."]),
        ("ÉCLAIR naïve", ["éclair", "naïve"]),
        ("a<PAD>b <UNK>", ["a", PAD, "b", UNK]),
        ("<pad>", ["<", "pad", ">"]),
    ],
)
def test_split_words(text: str, pieces: list[str]) -> None:
    assert split_words(text) == pieces


def test_vocabulary_is_ranked_by_count_then_alphabet_and_counts_the_special_tokens() -> None:
    texts = ["pear apple fig", "fig apple fig"]
    tokenizer = WordTokenizer.fit(texts, size=4)
    assert tokenizer.words == (PAD, UNK, "fig", "apple")
    assert tokenizer.vocab_size == 4
    assert WordTokenizer.fit(texts).words == (PAD, UNK, "fig", "apple", "pear")
    assert WordTokenizer.fit(["b a", "d c"], size=4).words == (PAD, UNK, "a", "b")


def test_vocabulary_does_not_depend_on_the_order_of_texts_or_on_string_hashing() -> None:
    texts = ["pear apple", "fig kiwi", "kiwi plum"]
    assert WordTokenizer.fit(texts).words == WordTokenizer.fit(texts[::-1]).words
    code = (
        "from course_lib.tokenization import *; print(WordTokenizer.fit(['pear apple', 'fig kiwi', 'kiwi plum']).words)"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[1])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert outputs == {f"{WordTokenizer.fit(texts).words}\n"}


def test_default_size_is_the_ten_thousand_rows_of_the_source() -> None:
    tokenizer = WordTokenizer.fit([" ".join(f"w{i}" for i in range(12_000))])
    assert tokenizer.vocab_size == 10_000
    assert max(tokenizer.encode("w9997 w9998")) < 10_000


def test_encode_and_decode() -> None:
    tokenizer = WordTokenizer.fit(["a good film"])
    assert tokenizer.encode("A GOOD book") == [2, 4, UNK_ID]
    assert tokenizer.decode([2, 4, UNK_ID, PAD_ID]) == "a good <UNK> <PAD>"
    assert tokenizer.encode(tokenizer.decode([2, 4, UNK_ID, PAD_ID])) == [2, 4, UNK_ID, PAD_ID]
    assert tokenizer.encode("") == []
    assert tokenizer.decode([]) == ""
    assert repr(tokenizer) == "WordTokenizer(5 words)"


@settings(deadline=None)  # the machine may be busy
@given(TEXTS)
def test_ids_survive_decoding_when_some_words_are_unknown(text: str) -> None:
    tokenizer = WordTokenizer.fit(["don't ' _ i ας the"])
    ids = tokenizer.encode(text)
    assert tokenizer.encode(tokenizer.decode(ids)) == ids


@settings(deadline=None)  # the machine may be busy
@given(TEXTS)
def test_known_words_come_back_normalized(text: str) -> None:
    tokenizer = WordTokenizer.fit([text, "word"])
    assert tokenizer.decode(tokenizer.encode(text)) == " ".join(split_words(text))


@pytest.mark.parametrize("bad", [-1, 3, -100])
def test_decoding_an_id_outside_the_vocabulary_is_an_error(bad: int) -> None:
    with pytest.raises(ValueError, match=f"id must be from 0 to 2; got {bad}"):
        WordTokenizer.fit(["a"]).decode([1, bad])
    with pytest.raises(ValueError, match=f"id must be from 0 to 2; got {bad}"):
        CharTokenizer.fit("abc").decode([1, bad])


def test_fit_refuses_what_gives_no_vocabulary() -> None:
    with pytest.raises(ValueError, match=r"got one string: pass \[text\]"):
        WordTokenizer.fit("one text")
    with pytest.raises(ValueError, match="at least one word; got none"):
        WordTokenizer.fit(["", " "])
    with pytest.raises(ValueError, match="at least one word; got none"):
        WordTokenizer.fit(["<PAD> <UNK>"])
    with pytest.raises(ValueError, match=r"size must be at least 3 .* got 2"):
        WordTokenizer.fit(["a"], size=2)
    with pytest.raises(ValueError, match="at least one character; got none"):
        CharTokenizer.fit("")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a", "b"], "starts with '<PAD>', '<UNK>'"),
        ([], "starts with '<PAD>', '<UNK>'"),
        ([PAD, UNK, "a", "b", "a"], "'a' comes 2 times"),
        ([PAD, UNK, "Two"], "'Two'"),
        ([PAD, UNK, "two words"], "'two words'"),
        ([PAD, UNK, 7], "got 7"),
    ],
)
def test_word_vocabulary_is_checked(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WordTokenizer(words)


def test_characters_are_sorted_and_unknown_ones_are_named_with_their_position() -> None:
    tokenizer = CharTokenizer.fit("banana\n")
    assert tokenizer.characters == ("\n", "a", "b", "n")
    assert tokenizer.vocab_size == 4
    assert tokenizer.encode("nab") == [3, 1, 2]
    assert repr(tokenizer) == "CharTokenizer(4 characters)"
    with pytest.raises(ValueError, match=r"character 'é' \(U\+00E9\) at position 2 is not one of this tokenizer's 4"):
        tokenizer.encode("baéx")


@settings(deadline=None)  # the machine may be busy
@given(st.text(min_size=1))
def test_characters_survive_the_round_trip(text: str) -> None:
    tokenizer = CharTokenizer.fit(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert max(tokenizer.encode(text)) == tokenizer.vocab_size - 1


@pytest.mark.parametrize(("characters", "message"), [("aba", "'a' comes 2 times"), (["ab"], "got 'ab'")])
def test_character_vocabulary_is_checked(characters: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CharTokenizer(characters)


def test_save_and_load(tmp_path: Path) -> None:
    words = WordTokenizer.fit(["naïve “quotes” don’t \ud800"])
    words.save(tmp_path / "words.json")
    assert WordTokenizer.load(str(tmp_path / "words.json")).words == words.words
    characters = CharTokenizer.fit('a"\\\n\u2028é\ud800')
    characters.save(str(tmp_path / "characters.json"))
    assert CharTokenizer.load(tmp_path / "characters.json").characters == characters.characters
    assert sorted(p.name for p in tmp_path.iterdir()) == ["characters.json", "words.json"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_save_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    path = tmp_path / "words.json"
    WordTokenizer.fit(["old"]).save(path)

    def full_disk(*arguments: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, step, full_disk)
    with pytest.raises(OSError, match="no space left"):
        WordTokenizer.fit(["new"]).save(path)
    assert WordTokenizer.load(path).words[2] == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["words.json"]


WORD_FORMAT = "course_lib.WordTokenizer"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"format": "course_lib.Wor', f"expected the JSON of a {WORD_FORMAT}, but it is not JSON"),
        ("", "not JSON"),
        ("[1, 2]", "found 'list'"),
        ('{"words": ["<PAD>"]}', f'"format": "{WORD_FORMAT}"; found None'),
        ('{"format": "course_lib.CharTokenizer", "characters": ["a"]}', "found 'course_lib.CharTokenizer'"),
        (json.dumps({"format": WORD_FORMAT}), 'expected a list under "words"; found NoneType'),
        (json.dumps({"format": WORD_FORMAT, "words": "abc"}), 'expected a list under "words"; found str'),
        (json.dumps({"format": WORD_FORMAT, "words": ["a"]}), "expected a vocabulary saved by WordTokenizer.save"),
        (json.dumps({"format": WORD_FORMAT, "words": [PAD, UNK, ["a"]]}), r"got \['a'\]"),
    ],
)
def test_a_damaged_or_foreign_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "vocabulary.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        WordTokenizer.load(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_damaged_character_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "characters.json"
    path.write_bytes(b"\xff\xfe{")
    with pytest.raises(ValueError, match=r"characters\.json: .* it is not JSON"):
        CharTokenizer.load(path)
    path.write_text('{"format": "course_lib.CharTokenizer", "characters": []}')
    with pytest.raises(ValueError, match=r"characters\.json: expected a vocabulary saved by CharTokenizer\.save"):
        CharTokenizer.load(path)
    with pytest.raises(FileNotFoundError, match=r"missing\.json"):
        CharTokenizer.load(tmp_path / "missing.json")
