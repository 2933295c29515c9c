import pytest

from course_lib.checks.answers import CheckFailed, Hint, expect, is_unanswered, judge
from course_lib.claims import STRICT_VARIABLE


def doubles(answer):
    expect(answer(2) is not None, "nothing came back; is there a return?")
    expect(answer(2) == 4, f"2 doubled is 4, you gave {answer(2)}")
    return "twice as much"


def test_a_starter_is_open():
    def bare(x): ...

    def described(x):
        """Double x."""
        ...  # noqa: PIE790 - this is how a starter looks

    def annotated(x: int) -> int: ...

    for starter in (bare, described, annotated, ..., (..., 1)):
        assert repr(judge(starter, doubles)) == "○ not attempted yet"


def test_an_attempt_is_not_a_starter():
    def forgets_to_return(x):
        x * 2

    def returns_a_constant(x):
        return 0

    assert not is_unanswered(forgets_to_return)
    assert not is_unanswered(returns_a_constant)
    assert not is_unanswered(lambda x: "a string")
    assert not is_unanswered(0.0)


def test_each_wrong_answer_meets_its_own_hint():
    assert judge(lambda x: print(end=""), doubles).text == "nothing came back; is there a return?"
    assert judge(lambda x: x, doubles).text == "2 doubled is 4, you gave 2"


def test_a_right_answer_says_what_it_shows():
    verdict = judge(lambda x: x + x, doubles)
    assert verdict.state == "right"
    assert "✓" in verdict._repr_html_()


def test_an_answer_that_crashes_gets_its_error_as_the_hint():
    verdict = judge(lambda x: x / 0, doubles)
    assert verdict.state == "wrong"
    assert "ZeroDivisionError" in verdict.text


def test_hints_are_escaped_in_the_page():
    def check(answer):
        raise Hint("2 < 3")

    assert "2 &lt; 3" in judge(1, check)._repr_html_()


def test_in_tests_and_builds_a_wrong_answer_raises(monkeypatch):
    monkeypatch.setenv(STRICT_VARIABLE, "1")
    with pytest.raises(CheckFailed, match="you gave 2"):
        judge(lambda x: x, doubles)
    assert judge(..., doubles).state == "open", "an unanswered starter never stops a build"
