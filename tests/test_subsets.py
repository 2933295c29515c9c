"""Balanced draws and labels turned around, as promised: sizes, counts, nesting, refusals."""

from collections import Counter

import pytest

from course_lib.data import draw_balanced, load_reviews, turn_labels

TRAIN = load_reviews("train")


def ids(reviews):
    return [review.id for review in reviews]


def label_counts(reviews):
    return Counter(review.label for review in reviews)


@pytest.mark.parametrize("size", [2, 50, 1600, 2500])
def test_a_draw_is_balanced_and_without_repetition(size):
    drawn = draw_balanced(TRAIN, size, 3)
    assert label_counts(drawn) == {0: size // 2, 1: size // 2}
    assert len(set(ids(drawn))) == size


def test_draws_are_nested_and_differ_by_number():
    small, large = draw_balanced(TRAIN, 100, 1), draw_balanced(TRAIN, 200, 1)
    assert ids(large)[:100] == ids(small)
    assert ids(draw_balanced(TRAIN, 100, 1)) == ids(small)
    assert len(set(ids(draw_balanced(TRAIN, 100, 2))) & set(ids(small))) < 30
    assert set(ids(draw_balanced(TRAIN, 2500, 0))) == set(ids(TRAIN))


@pytest.mark.parametrize("size", [0, -2, 51, 2502])
def test_draw_refuses_a_size_that_cannot_be_balanced(size):
    with pytest.raises(ValueError, match=rf"size: expected an even number from 2 to 2500.*got {size}"):
        draw_balanced(TRAIN, size, 0)


def test_the_rarer_label_limits_a_draw():
    pool = [review for review in TRAIN if review.label == 0][:30] + [review for review in TRAIN if review.label][:10]
    assert len(draw_balanced(pool, 20, 0)) == 20
    with pytest.raises(ValueError, match="from 2 to 20"):
        draw_balanced(pool, 22, 0)


@pytest.mark.parametrize(("share", "turned"), [(0, 0), (0.05, 2), (0.1, 5), (0.4, 20), (1, 50)])
def test_as_many_labels_of_each_kind_are_turned(share, turned):
    reviews = draw_balanced(TRAIN, 100, 0)
    before = [review.label for review in reviews]
    after = turn_labels(reviews, share, 7)
    assert [review.label for review in reviews] == before
    assert ids(after) == ids(reviews)
    changed = Counter(old.label for old, new in zip(reviews, after, strict=True) if old.label != new.label)
    assert changed == ({0: turned, 1: turned} if turned else {})
    assert turn_labels(reviews, share, 7) == after
    if turned == 5:
        assert turn_labels(reviews, share, 8) != after


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_turn_labels_refuses_what_is_no_share(share):
    with pytest.raises(ValueError, match="share: expected a number from 0 to 1"):
        turn_labels(TRAIN, share, 0)
