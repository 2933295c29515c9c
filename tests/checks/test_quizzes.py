"""What every chapter's quiz must be; that its numbers are right is tested with the chapter's checks."""

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks" / "quiz"
QUESTIONS = [
    pytest.param(question, id=f"{path.stem[:2]}: {question['question'][:40]}")
    for path in sorted(FOLDER.glob("*.json"))
    for question in json.loads(path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("notebook", sorted((FOLDER.parent).glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_chapter_ends_with_its_quiz(notebook):
    path = FOLDER / f"{notebook.stem}.json"
    assert f'display_quiz(\\"quiz/{path.name}\\")' in notebook.read_text(encoding="utf-8")
    assert 4 <= len(json.loads(path.read_text(encoding="utf-8"))) <= 6


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_quizzes_are_ascii(path):
    assert path.read_bytes().isascii(), "jupyterquiz opens the file in the system's encoding"


@pytest.mark.parametrize("question", QUESTIONS)
def test_each_question_has_one_right_answer_and_teaches_with_every_answer(question):
    assert sum(answer.get("correct", False) for answer in question["answers"]) == 1
    feedback = [answer["feedback"] for answer in question["answers"]]
    assert len(set(feedback)) == len(feedback)
    assert all(len(text) > 30 for text in feedback)
