import base64
import re
import struct
import subprocess
import sys

import matplotlib
import pytest

from course_lib import plots


def pixels(page: str) -> tuple[int, int]:
    """Width and height in the PNG's own header."""
    png = base64.b64decode(re.search(r"base64,([^\"]+)", page)[1])
    assert png.startswith(b"\x89PNG")
    return struct.unpack(">II", png[16:24])


@pytest.fixture
def drawn():
    figure, ax = plots.axes("step (updates)", "loss (nats)", width=5, height=3)
    ax.plot([0, 1, 2], [3.0, 2.0, 1.0], label="training")
    ax.plot([0, 1, 2], [3.0, 2.5, 2.5], label="validation")
    return figure, ax


def run_in_notebook(code: str) -> list:
    """What a cell displays."""
    shell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell.instance()
    with pytest.importorskip("IPython.utils.capture").capture_output() as captured:
        result = shell.run_cell(code)
    shell.clear_instance()
    assert result.success, result.error_in_exec
    return captured.outputs


def test_the_page_has_the_words_escaped_and_twice_the_pixels(drawn):
    page = plots.to_html(drawn[0], 'loss < 1 & "falling"')
    assert 'alt="loss &lt; 1 &amp; &quot;falling&quot;"' in page
    assert 'width="500"' in page
    assert pixels(page) == (1000, 600)
    assert "http" not in page


@pytest.mark.parametrize(("width", "least"), [(6.8, "min(680px,30rem)"), (4, "min(400px,30rem)")])
def test_on_a_narrow_page_a_figure_scrolls_before_its_text_is_too_small(width, least):
    page = plots.to_html(plots.axes("x (m)", "y (m)", width=width)[0], "Nothing yet.")
    figure, image = (re.search(rf'<{tag} [^>]*style="([^"]*)"', page)[1].split(";") for tag in ("figure", "img"))
    assert "overflow-x:auto" in figure
    assert {f"min-width:{least}", "max-width:100%"} <= set(image)


def test_no_blank_space_stays_above_and_below_a_figure_that_shrinks():
    page = plots.to_html(plots.axes("x (m)", "y (m)")[0], "Nothing yet.")
    figure, image = (re.search(rf"<{tag} [^>]*>", page)[0] for tag in ("figure", "img"))
    assert "height:auto" in image
    assert " height=" not in image
    assert "padding:0" in figure  # a theme gives figures a padding of its own
    assert float(re.search(r"margin:([\d.]+)em 0", figure)[1]) < 0.5


def test_the_same_figure_gives_the_same_bytes(drawn):
    assert plots.to_html(drawn[0], "loss") == plots.to_html(drawn[0], "loss")


@pytest.mark.parametrize("alt", ["", "  \n"])
def test_a_figure_without_words_is_refused(drawn, alt):
    with pytest.raises(ValueError, match="alternative text"):
        plots.show(drawn[0], alt=alt)


@pytest.mark.parametrize("labels", [("", "loss (nats)"), ("step (updates)", " ")])
def test_axes_without_a_label_are_refused(labels):
    with pytest.raises(ValueError, match="both labels"):
        plots.axes(*labels)


def test_axes_carry_their_labels_scales_and_no_needless_spines():
    _, ax = plots.axes("nudge", "error", xscale="log", yscale="log", title="A claim")
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title(loc="left")) == ("nudge", "error", "A claim")
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert not ax.spines["top"].get_visible()
    assert not ax.spines["right"].get_visible()


def test_lines_differ_without_color(drawn):
    first, second = drawn[1].get_lines()
    assert first.get_marker() != second.get_marker()
    assert first.get_linestyle() != second.get_linestyle()


def test_labels_stand_at_the_ends_of_their_lines(drawn):
    ax = drawn[1]
    ax.plot([0, 2], [0, 0])
    ax.plot([], [], label="nothing drawn")
    assert plots.label_ends(ax, skip=["validation"]) is ax
    assert [(t.get_text(), t.xy) for t in ax.texts] == [("training", (2.0, 1.0))]
    assert ax.texts[0].get_color() == ax.get_lines()[0].get_color()


def test_drawing_leaves_the_readers_own_settings_alone(drawn):
    before = dict(matplotlib.rcParams)
    plots.axes("x", "y")
    plots.to_html(drawn[0], "loss")
    assert dict(matplotlib.rcParams) == before


def test_a_notebook_shows_one_image_with_its_words():
    outputs = run_in_notebook(
        "from course_lib import plots\nfigure, _ = plots.axes('x (m)', 'y (m)')\nplots.show(figure, alt='Nothing yet.')"
    )
    assert len(outputs) == 1
    assert outputs[0].data["text/plain"] == "Figure: Nothing yet."
    assert 'alt="Nothing yet."' in outputs[0].data["text/html"]


def test_a_figure_of_pyplot_is_closed():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    matplotlib.use("agg")
    figure, _ = pyplot.subplots()
    plots.show(figure, alt="An empty plot.")
    assert not pyplot.fignum_exists(figure.number)


def test_outside_a_notebook_nothing_is_shown(drawn, capsys):
    plots.show(drawn[0], alt="Two lines.")
    assert capsys.readouterr() == ("", "")


def test_importing_it_does_not_import_matplotlib():
    code = "import sys, course_lib.plots; sys.exit('matplotlib' in sys.modules or 'IPython' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
