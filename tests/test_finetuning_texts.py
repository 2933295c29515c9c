"""Tests of course_lib.finetuning.texts: what is refused, what is cut, and that nothing else is changed."""

from typing import Any

import pytest
from tiny_checkpoints import save_body

from course_lib.data import DataError, Review
from course_lib.finetuning.texts import check_classes, check_texts, tokenize
from course_lib.pretrained import load_tokenizer

GOOD = [Review("a", "good film", 1), Review("b", "bad film", 0)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_tokenizer(save_body(tmp_path_factory.mktemp("tiny")))


def words(tokenizer: Any, row: dict[str, Any]) -> list[str]:
    result: list[str] = tokenizer.convert_ids_to_tokens(row["input_ids"])
    return result


def test_texts_become_rows_in_their_order(tokenizer: Any) -> None:
    found = tokenize(GOOD, tokenizer, 8)
    assert [words(tokenizer, row) for row in found.rows] == [
        ["[CLS]", "good", "film", "[SEP]"],
        ["[CLS]", "bad", "film", "[SEP]"],
    ]
    assert [row["labels"] for row in found.rows] == [1, 0]
    assert [row["attention_mask"] for row in found.rows] == [[1] * 4] * 2, "not padded"
    assert found.rows[0].keys() == {"input_ids", "attention_mask", "labels"}, "DistilBERT takes no token types"
    assert (len(found), found.lengths, found.cut) == (2, [4, 4], 0)
    assert found.seconds > 0


def test_a_long_text_is_cut_at_the_limit_keeps_its_separator_and_is_counted(tokenizer: Any) -> None:
    exact, over, far = "one two three", "one two three four", "one two three four " * 10
    rows = [Review(str(i), text, i % 2) for i, text in enumerate([far, exact, over, "one"])]
    found = tokenize(rows, tokenizer, 5)
    beginning = ["[CLS]", "one", "two", "three", "[SEP]"]
    assert [words(tokenizer, row) for row in found.rows] == [beginning] * 3 + [["[CLS]", "one", "[SEP]"]]
    assert [row["labels"] for row in found.rows] == [0, 1, 0, 1], "a text of many pieces shifts no label"
    assert found.cut == 2
    assert found.lengths == [5, 5, 5, 3]


def test_tokenizing_warns_of_nothing_and_leaves_the_tokenizer_as_it_was(
    tokenizer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenize([Review("a", "word " * 900, 1)], tokenizer, 600)
    assert len(tokenizer("word " * 700, truncation=False, verbose=False)["input_ids"]) == 702
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("reviews", "labels", "message"),
    [
        ([], 2, "training data: expected at least one text; got none"),
        ([*GOOD, Review("c", " \n\t", 1)], 2, "training data, 'c': the text is empty: leave the row out"),
        ([*GOOD, Review("c", "x", 2)], 2, "training data, 'c': expected a label from 0 to 1; got 2"),
        ([*GOOD, Review("c", "x", -1)], 3, "training data, 'c': expected a label from 0 to 2; got -1"),
    ],
)
def test_what_would_train_and_mean_nothing_is_refused(reviews: list[Review], labels: int, message: str) -> None:
    with pytest.raises(DataError) as caught:
        check_texts("training", reviews, labels)
    assert str(caught.value).startswith(message)
    check_texts("training", GOOD, labels)


def test_one_class_is_refused_or_warned_of() -> None:
    assert check_classes(GOOD, allow_single_class=False) is None
    one = [Review(str(i), "x", 1) for i in range(1200)]
    with pytest.raises(DataError, match=r"all 1,200 training texts have the label 1: .*Shuffle before .*--allow"):
        check_classes(one, allow_single_class=False)
    warning = check_classes(one, allow_single_class=True)
    assert warning is not None
    assert warning.startswith("warning: all 1,200 training texts have the label 1")
    assert "100%" in warning
