import numpy as np
import pytest
import torch

from course_lib import claims
from course_lib.claims import STRICT_VARIABLE, Claim, ClaimError, claim


@pytest.fixture
def shown(monkeypatch):
    """What claim() renders, in order."""
    rendered: list[Claim] = []
    monkeypatch.setattr(claims, "_show", rendered.append)
    return rendered


def test_a_claim_that_holds_reads_as_its_sentence(shown):
    claim("2 is more than 1", 2 > 1)
    assert repr(shown[0]) == "✓ 2 is more than 1"
    assert "✓" in shown[0]._repr_html_()


def test_a_notebook_shows_every_claim_of_a_cell():
    shell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell.instance()
    with pytest.importorskip("IPython.utils.capture").capture_output() as captured:
        shell.run_cell("from course_lib.claims import claim\nclaim('one', True)\nclaim('two', True)\n")
    shell.clear_instance()
    assert [output.data["text/plain"] for output in captured.outputs] == ["✓ one", "✓ two"]


def test_outside_a_notebook_a_claim_is_logged(caplog):
    with caplog.at_level("INFO", logger="course_lib.claims"):
        claim("2 is more than 1", True)
    assert caplog.messages == ["✓ 2 is more than 1"]


def test_a_claim_that_fails_raises_in_tests(monkeypatch):
    monkeypatch.setenv(STRICT_VARIABLE, "1")
    with pytest.raises(ClaimError, match="1 is more than 2"):
        claim("1 is more than 2", 1 > 2)


@pytest.mark.parametrize("value", ["", "0"])
def test_a_claim_that_fails_tells_and_goes_on_in_a_persons_session(monkeypatch, shown, value):
    monkeypatch.setenv(STRICT_VARIABLE, value)
    claim("1 < 0", False)
    assert not shown[0].holds
    assert repr(shown[0]) == "✗ not in this run: 1 < 0"
    assert "1 &lt; 0" in shown[0]._repr_html_(), "the sentence is escaped"


def test_the_test_run_itself_is_strict():
    with pytest.raises(ClaimError):
        claim("this run is lenient", False)


def test_a_tensor_of_one_element_counts_as_its_value(shown):
    claim("the loss is finite", torch.isfinite(torch.tensor(1.0)))
    assert shown[0].holds


@pytest.mark.parametrize("condition", [torch.tensor([True, False]), np.array([True, True])])
def test_several_truth_values_are_refused_with_the_remedy(condition):
    with pytest.raises(ValueError, match=r"\.all\(\)"):
        claim("all of them", condition)


def test_an_empty_sentence_is_refused():
    with pytest.raises(ValueError, match="sentence"):
        claim("  ", True)
