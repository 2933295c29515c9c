"""From text to integers and back: a word tokenizer and a character tokenizer (chapters 3 and 18).

A network computes with numbers, so each piece of text gets an integer, its **id**, and the list of pieces is the
**vocabulary**. Words give short sequences and a vocabulary that never covers everything, so unknown words share one id.
Characters give long sequences and a small vocabulary with nothing unknown.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from course_lib.files import write_text

PAD, UNK = "<PAD>", "<UNK>"
PAD_ID, UNK_ID = 0, 1

_SPECIAL = re.compile(f"({PAD}|{UNK})")
# [^\W_] is "letter or digit". An apostrophe belongs to a word when letters or digits stand on both sides of it.
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*|\S")


def split_words(text: str) -> list[str]:
    """Split text into lowercase words and single symbols; white space only separates.

    Letters and digits with inner apostrophes make one word ("don't"); any other visible character stands alone. The
    curly apostrophe becomes the straight one, so that "don’t" and "don't" share a row of the embedding. A literal
    `<PAD>` or `<UNK>` stays whole and keeps its capitals.

    Args:
        text: any string, empty allowed.

    Returns:
        The pieces in order; `split_words(" ".join(pieces))` gives the same pieces again.
    """
    pieces: list[str] = []
    for part in _SPECIAL.split(text):
        # Lower-casing comes before the split into words: one capital can become two characters ("İ").
        pieces.extend([part] if part in (PAD, UNK) else _WORD.findall(part.lower().replace("’", "'")))
    return pieces


class _Vocabulary:
    """A row of entries, each with its place as its id, that is kept as JSON.

    Args:
        entries: the vocabulary in the order of its ids.
    """

    _KEY = "entries"  # what the entries are called in the file
    entries: tuple[str, ...]

    def __init__(self, entries: Iterable[str]) -> None:
        raise NotImplementedError

    @property
    def vocab_size(self) -> int:
        """Number of ids: the rows that an embedding needs."""
        return len(self.entries)

    def save(self, path: str | Path) -> None:
        """Write the vocabulary as JSON; a crash while writing leaves an older file whole."""
        write_text(path, json.dumps({"format": f"course_lib.{type(self).__name__}", self._KEY: self.entries}))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged or holds something else; the message names it and what was expected.
        """
        path = Path(path)
        entries = _read_json(path, f"course_lib.{cls.__name__}", cls._KEY)
        try:
            return cls(entries)
        except ValueError as error:
            raise ValueError(f"{path}: expected a vocabulary saved by {cls.__name__}.save, but {error}") from error


class WordTokenizer(_Vocabulary):
    """Words to ids, with 0 for padding and 1 for every word outside the vocabulary.

    Args:
        words: the vocabulary in the order of its ids; it starts with `<PAD>`, `<UNK>`.

    Raises:
        ValueError: words do not start with the two special tokens, repeat, or are not single words or symbols.
    """

    _KEY = "words"

    def __init__(self, words: Iterable[str]) -> None:
        self.words = self.entries = tuple(words)
        if self.words[:2] != (PAD, UNK):
            raise ValueError(f"a vocabulary starts with {PAD!r}, {UNK!r}; this one starts with {self.words[:2]}")
        for word in self.words:
            if not isinstance(word, str) or split_words(word) != [word]:
                raise ValueError(f"a vocabulary holds single lowercase words or symbols; got {word!r}")
        self._ids = {word: i for i, word in enumerate(self.words)}
        if len(self._ids) != len(self.words):
            word, count = Counter(self.words).most_common(1)[0]
            raise ValueError(f"a vocabulary holds each word once; {word!r} comes {count} times")

    def __repr__(self) -> str:
        return f"WordTokenizer({self.vocab_size:,} words)"

    @classmethod
    def fit(cls, texts: Iterable[str], size: int = 10_000) -> "WordTokenizer":
        """Keep the most frequent words of some texts. Give it training texts only, or the vocabulary leaks.

        Args:
            texts: the training texts.
            size: most entries in the vocabulary, `<PAD>` and `<UNK>` included.

        Returns:
            A tokenizer with `vocab_size <= size`; smaller when the texts hold fewer words. Equal counts are ordered
            alphabetically, so the same texts in any order give the same ids.

        Raises:
            ValueError: texts is one string or holds no word, or size is below 3.
        """
        if isinstance(texts, str):
            raise ValueError("texts must be a collection of strings; got one string: pass [text]")
        if size < 3:
            raise ValueError(f"size must be at least 3 ({PAD}, {UNK} and one word); got {size}")
        counts = Counter(word for text in texts for word in split_words(text) if word not in (PAD, UNK))
        if not counts:
            raise ValueError("texts must hold at least one word; got none")
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        return cls([PAD, UNK, *ranked[: size - 2]])

    def encode(self, text: str) -> list[int]:
        """Turn text into ids; a word outside the vocabulary becomes 1 (`<UNK>`), an empty text an empty list."""
        return [self._ids.get(word, UNK_ID) for word in split_words(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """Turn ids into words joined by spaces.

        Args:
            ids: integers from 0 to `vocab_size` - 1.

        Returns:
            The words. Capitals, spacing and unknown words do not come back; the ids of the result are the ids given.

        Raises:
            ValueError: an id lies outside the vocabulary.
        """
        return " ".join(_look_up(ids, self.words))


class CharTokenizer(_Vocabulary):
    """Characters to ids, one for one, so that decoding gives back exactly the text.

    Args:
        characters: the vocabulary in the order of its ids, each a string of length 1.

    Raises:
        ValueError: there is none, one comes twice, or one is not a single character.
    """

    _KEY = "characters"

    def __init__(self, characters: Iterable[str]) -> None:
        self.characters = self.entries = tuple(characters)
        if not self.characters:
            raise ValueError("a character vocabulary holds at least one character; got none")
        for character in self.characters:
            if not isinstance(character, str) or len(character) != 1:
                raise ValueError(f"a character vocabulary holds single characters; got {character!r}")
        self._ids = {character: i for i, character in enumerate(self.characters)}
        if len(self._ids) != len(self.characters):
            character, count = Counter(self.characters).most_common(1)[0]
            raise ValueError(f"a character vocabulary holds each character once; {character!r} comes {count} times")

    def __repr__(self) -> str:
        return f"CharTokenizer({self.vocab_size} characters)"

    @classmethod
    def fit(cls, text: str) -> "CharTokenizer":
        """Give each distinct character of the text an id, in the order of their code points.

        Raises:
            ValueError: the text is empty.
        """
        return cls(sorted(set(text)))

    def encode(self, text: str) -> list[int]:
        """Turn text into ids, one for each character.

        Raises:
            ValueError: a character is not in the vocabulary; the message names it and its position.
        """
        try:
            return [self._ids[character] for character in text]
        except KeyError as error:
            character = error.args[0]
            raise ValueError(
                f"character {character!r} (U+{ord(character):04X}) at position {text.index(character)} is not one of "
                f"this tokenizer's {self.vocab_size}: fit it on a text that holds it, or remove it"
            ) from None

    def decode(self, ids: Iterable[int]) -> str:
        """Turn ids into text.

        Raises:
            ValueError: an id lies outside the vocabulary.
        """
        return "".join(_look_up(ids, self.characters))


def _look_up(ids: Iterable[int], vocabulary: tuple[str, ...]) -> list[str]:
    numbers = [int(i) for i in ids]
    for i in numbers:
        # Python would read -1 as the last entry, which hides mistakes such as decoding targets with -100 in them.
        if not 0 <= i < len(vocabulary):
            raise ValueError(f"id must be from 0 to {len(vocabulary) - 1}; got {i}")
    return [vocabulary[i] for i in numbers]


def _read_json(path: Path, expected_format: str, key: str) -> list[str]:
    try:
        content = json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected the JSON of a {expected_format}, but it is not JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != expected_format:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise ValueError(f'{path}: expected a JSON object with "format": "{expected_format}"; found {found!r}')
    if not isinstance(content.get(key), list):
        raise ValueError(f'{path}: expected a list under "{key}"; found {type(content.get(key)).__name__}')
    return content[key]
