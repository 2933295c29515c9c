"""Slices against the metric on each part, at their edges, and for what they refuse."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib import metrics

TARGETS, PREDICTIONS = [1, 1, 0, 0, 1, 0], [1, 0, 0, 0, 1, 1]
GROUPS = ["plain", "sarcasm", "plain", "plain", "negation", "negation"]


def f1(targets, predictions):
    return metrics.precision_recall_f1(targets, predictions).f1


def test_rows_by_hand():
    table = metrics.by_slice(TARGETS, PREDICTIONS, GROUPS)
    assert [(row.name, row.n, row.value) for row in table] == [
        ("plain", 3, 1.0),
        ("negation", 2, 0.5),
        ("sarcasm", 1, 0),
    ]
    assert [row.interval for row in table] == [metrics.wilson_interval(*counts) for counts in [(3, 3), (1, 2), (0, 1)]]
    with pytest.raises(dataclasses.FrozenInstanceError):
        table[0].n = 4


@given(rows=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.sampled_from("abcd")), min_size=1, max_size=40))
def test_slices_add_up_to_the_whole(rows):
    targets, predictions, groups = zip(*rows, strict=True)
    table = metrics.by_slice(targets, predictions, groups)
    assert {row.name for row in table} == set(groups)
    assert sum(row.n for row in table) == len(rows)
    whole = sum(row.n * row.value for row in table) / len(rows)
    assert whole == pytest.approx(metrics.accuracy(targets, predictions))
    assert [row.n for row in table] == sorted((row.n for row in table), reverse=True)
    assert all(row.interval.low <= row.value <= row.interval.high for row in table)


def test_order_and_ties():
    def names(**settings):
        return [row.name for row in metrics.by_slice(TARGETS, PREDICTIONS, GROUPS, **settings)]

    assert names(order=("sarcasm", "mixed", "negation", "plain")) == ["sarcasm", "negation", "plain"]
    assert [row.name for row in metrics.by_slice([1, 0, 1], [1, 0, 1], ["b", "a", "c"])] == ["b", "a", "c"]


def test_any_metric_has_a_value_and_only_accuracy_an_interval():
    table = metrics.by_slice(TARGETS, PREDICTIONS, GROUPS, f1)
    assert [row.value for row in table] == [1.0, pytest.approx(2 / 3), 0.0]
    assert all(row.interval is None for row in table)
    with pytest.raises(ValueError, match="interval must be there, got None: only accuracy has one"):
        table[0].too_small_to_tell()


def test_too_small_to_tell():
    targets = np.ones(600, dtype=int)
    predictions = np.r_[np.ones(480), np.zeros(20), np.ones(80), np.zeros(20)].astype(int)
    large, small = metrics.by_slice(targets, predictions, ["large"] * 500 + ["small"] * 100)
    assert not large.too_small_to_tell(0.05)
    assert small.too_small_to_tell(0.05)
    assert not small.too_small_to_tell()  # 100 reviews at 80%: 15.6 points wide
    (tiny,) = metrics.by_slice([1] * 5, [1] * 5, ["tiny"] * 5)
    assert tiny.value == 1.0
    assert tiny.too_small_to_tell()
    with pytest.raises(ValueError, match=r"widest must be above 0, such as 0.2, got 0"):
        tiny.too_small_to_tell(0)


@pytest.mark.parametrize("convert", [list, tuple, np.array, torch.tensor])
def test_kinds_of_input(convert):
    targets, predictions, groups = convert([1, 0, 1]), convert([1, 1, 1]), convert([7, 8, 7])
    table = metrics.by_slice(targets, predictions, groups)
    assert [(row.name, row.n, row.value) for row in table] == [(7, 2, 1.0), (8, 1, 0.0)]
    assert metrics.by_slice([1], [1], np.array(["plain"]))[0].name == "plain"
    assert metrics.by_slice([1], [1], [None])[0].name is None
    assert metrics.length_bins(convert([1, 3]), [2]).groups == ["under 2", "2 or more"]


def test_length_bins():
    bins = metrics.length_bins([0, 9, 10, 11, 14, 15, 16, 400], [10, 15, 16])
    assert bins.names == ("under 10", "10 to 14", "15", "16 or more")
    assert [bins.names.index(group) for group in bins.groups] == [0, 0, 1, 1, 1, 2, 3, 3]
    table = metrics.by_slice([1] * 8, [1, 0] * 4, bins.groups, order=bins.names)
    assert [(row.name, row.n) for row in table] == [("under 10", 2), ("10 to 14", 3), ("15", 1), ("16 or more", 2)]


@given(
    lengths=st.lists(st.integers(0, 60), min_size=1),
    edges=st.lists(st.integers(1, 50), min_size=1, unique=True).map(sorted),
)
def test_every_length_is_in_its_bin(lengths, edges):
    bins = metrics.length_bins(lengths, edges)
    assert len(set(bins.names)) == len(edges) + 1
    for length, group in zip(lengths, bins.groups, strict=True):
        assert bins.names.index(group) == sum(edge <= length for edge in edges)


@pytest.mark.parametrize(
    ("groups", "settings", "message"),
    [
        (GROUPS[:5], {}, r"groups must name the group of each example, \(6,\), got shape \(5,\)"),
        (np.zeros((6, 2)), {}, r"\(6,\), got shape \(6, 2\)"),
        (GROUPS, {"order": ["plain", "sarcasm"]}, "order must name every group once, .*'negation'.*, got"),
        (GROUPS, {"order": ["plain", "plain", "sarcasm", "negation"]}, "order must name every group once"),
        (GROUPS, {"confidence": 95}, "confidence must be strictly between 0 and 1"),
    ],
)
def test_by_slice_refuses(groups, settings, message):
    with pytest.raises(ValueError, match=message):
        metrics.by_slice(TARGETS, PREDICTIONS, groups, **settings)


def test_by_slice_refuses_bad_labels():
    with pytest.raises(ValueError, match="targets must hold one label"):
        metrics.by_slice([], [], [])
    with pytest.raises(ValueError, match="must have one length, got 2 and 1"):
        metrics.by_slice([0, 1], [0], ["a", "a"])


@pytest.mark.parametrize(
    ("lengths", "edges", "message"),
    [
        ([1.5], [2], "lengths must be whole numbers of 0 or more"),
        ([3, -1], [2], "lengths must be whole numbers of 0 or more, .* with -1"),
        ([[1]], [2], r"got int64 of shape \(1, 1\)"),
        ([1], [], r"edges must be whole numbers, each larger than the last, from 1 on, got \[\]"),
        ([1], [5, 5], r"got \[5, 5\]"),
        ([1], [0, 5], r"got \[0, 5\]"),
        ([1], [2.5], r"got \[2.5\]"),
    ],
)
def test_length_bins_refuses(lengths, edges, message):
    with pytest.raises(ValueError, match=message):
        metrics.length_bins(lengths, edges)
