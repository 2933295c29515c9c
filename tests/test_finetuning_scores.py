"""Tests of course_lib.finetuning.scores: every average is named, and equals scikit-learn's."""

import re
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk
from transformers import EvalPrediction

from course_lib.finetuning.scores import check_best_metric, classification_scores, example_scores


def drawn(classes: int, n: int = 200) -> tuple[Any, Any]:
    random = np.random.default_rng(classes)
    targets = random.integers(classes, size=n)
    targets[: n // 3] = 0  # unequal classes, so that the averages differ
    return targets, random.normal(size=(n, classes)) + 0.8 * np.eye(classes)[targets]


def scores(targets: Any, logits: Any) -> dict[str, Any]:
    return classification_scores(EvalPrediction(predictions=logits, label_ids=targets))


@pytest.mark.parametrize("classes", [2, 3])
def test_values_are_scikit_learns(classes: int) -> None:
    targets, logits = drawn(classes)
    guesses = logits.argmax(axis=1)
    found = scores(targets, logits)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(targets, guesses))
    assert found["confusion_matrix"] == sk.confusion_matrix(targets, guesses).tolist()
    for name, average in [("weighted", "weighted"), ("macro", "macro")] + [("positive", "binary")] * (classes == 2):
        expected = sk.precision_recall_fscore_support(targets, guesses, average=average)[:3]
        assert [found[f"{score}_{name}"] for score in ("precision", "recall", "f1")] == pytest.approx(expected)
    assert found["recall_weighted"] == pytest.approx(found["accuracy"]), "why a bare recall cannot be read"
    assert len({round(found[f"f1_{name}"], 6) for name in ("weighted", "macro")}) == 2


@pytest.mark.parametrize("classes", [2, 3])
def test_every_average_is_named(classes: int) -> None:
    names = scores(*drawn(classes)).keys()
    averages = ["weighted", "macro"] + ["positive"] * (classes == 2)
    expected = {f"{score}_{average}" for score in ("precision", "recall", "f1") for average in averages}
    assert names == expected | {"accuracy", "confusion_matrix"}
    assert not names & {"f1", "recall", "precision"}


@pytest.mark.parametrize("classes", [2, 3])
def test_a_class_that_is_never_guessed_scores_0_and_warns_of_nothing(classes: int) -> None:
    targets = np.arange(10) % classes
    logits = np.eye(classes)[np.zeros(10, dtype=int)]
    found = scores(targets, logits)
    assert found["precision_macro"] == pytest.approx(np.mean(targets == 0) / classes)
    assert np.array(found["confusion_matrix"])[:, 1:].sum() == 0
    assert np.array(found["confusion_matrix"]).shape == (classes, classes)


def test_a_figure_that_no_evaluation_has_is_refused_with_those_it_has() -> None:
    for name in (None, "loss", "accuracy", "f1_weighted", "f1_positive"):
        check_best_metric(name, example_scores(2))
    for name in ("f1", "eval_loss", "confusion_matrix", ""):
        with pytest.raises(ValueError, match=re.escape(f"got {name!r}")) as caught:
            check_best_metric(name, example_scores(2))
        assert str(caught.value).startswith("best_metric: expected one of loss, accuracy, precision_weighted, ")
    with pytest.raises(ValueError, match="got 'f1_positive'"):
        check_best_metric("f1_positive", example_scores(3))
