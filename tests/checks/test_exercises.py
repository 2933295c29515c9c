"""What every chapter's exercises must do. A chapter's own test module holds the answers, as

EXERCISES = {name of the check: (starter, right answers, {words of the hint: wrong answer})}
"""

import importlib
import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
CHAPTERS = {path.stem[3:]: path for path in NOTEBOOKS}
CHECKS = {chapter: importlib.import_module(f"course_lib.checks.{chapter}") for chapter in CHAPTERS}
EXERCISES = {
    (chapter, name): exercise
    for chapter in CHAPTERS
    for name, exercise in importlib.import_module(f"test_{chapter}").EXERCISES.items()
}
RIGHT = [(*where, answer) for where, (_, answers, _) in EXERCISES.items() for answer in answers]
WRONG = [(*where, words, answer) for where, (_, _, answers) in EXERCISES.items() for words, answer in answers.items()]


def verdict_of(chapter, name, answer):
    return getattr(CHECKS[chapter], name)(answer)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_answers_are_those_of_the_notebook(chapter):
    cells = nbformat.read(CHAPTERS[chapter], as_version=4).cells
    asked = [cell.source for cell in cells if "exercise" in cell.metadata.get("tags", [])]
    assert [re.findall(r"\bchecks\.(\w+)\(", source)[-1] for source in asked] == [
        n for c, n in EXERCISES if c == chapter
    ]


@pytest.mark.parametrize(("chapter", "name"), EXERCISES)
def test_the_starter_is_open(chapter, name):
    assert verdict_of(chapter, name, EXERCISES[chapter, name][0]).state == "open"


@pytest.mark.parametrize(("chapter", "name", "answer"), RIGHT)
def test_the_solution_passes_and_says_what_it_shows(chapter, name, answer):
    verdict = verdict_of(chapter, name, answer)
    assert verdict.state == "right", verdict.text
    assert len(verdict.text) > 30


@pytest.mark.parametrize(("chapter", "name", "words", "answer"), WRONG)
def test_each_wrong_answer_meets_its_own_hint(chapter, name, words, answer):
    verdict = verdict_of(chapter, name, answer)
    assert verdict.state == "wrong"
    assert words in verdict.text


@pytest.mark.parametrize(("chapter", "name"), EXERCISES)
def test_no_two_mistakes_share_a_hint(chapter, name):
    answers = EXERCISES[chapter, name][2]
    hints = {verdict_of(chapter, name, answer).text for answer in answers.values()}
    assert len(hints) == len(answers) >= 3
