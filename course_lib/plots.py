"""The look of the course's figures, and how a page shows them (every chapter that draws uses it; first in chapter 05).

A figure makes one claim, labels both axes with units, is readable without color and says in words what it shows.
`axes` gives the look, `label_ends` writes each line's name at its end, and `show` refuses a figure that has no words.
"""

import base64
import contextlib
import html
import io
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # matplotlib is imported when something is drawn, not when the library is
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Six colors that stay apart for color-blind readers. Source: Okabe and Ito, "Color Universal Design" (2008)."""

_MARKERS = ("o", "s", "^", "D", "v", "P")
_LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))
_POINT = 11  # size of all text; one inch of figure is shown as 100 CSS pixels, so this is about 15 of them
_NARROWEST = "30rem"  # a figure shrinks with its page to here, where its text is about 11 CSS pixels; then it scrolls
_DPI = 200  # twice what is shown, for screens with two device pixels to one CSS pixel

Scale = Literal["linear", "log"]


def style() -> contextlib.AbstractContextManager[None]:
    """The course's look as a context, for figures that `axes` does not fit.

    Returns:
        A context manager: figures drawn inside have the look, and outside nothing has changed.
    """
    import matplotlib
    from cycler import cycler

    lines = cycler(color=PALETTE) + cycler(marker=_MARKERS) + cycler(linestyle=_LINES)
    look: Any = {
        "font.size": _POINT,
        "axes.labelsize": _POINT,
        "axes.titlesize": _POINT,
        "axes.titlelocation": "left",
        "xtick.labelsize": _POINT,
        "ytick.labelsize": _POINT,
        "legend.fontsize": _POINT,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#e3e7ea",
        "figure.facecolor": "white",
        "axes.facecolor": "white",
        "lines.linewidth": 1.8,
        "lines.markersize": 5.0,
        # A marker at every tenth of the diagonal: a line of a thousand points stays a line that differs without color.
        "axes.prop_cycle": lines + cycler(markevery=[0.1] * len(PALETTE)),
    }
    return matplotlib.rc_context(look)


def axes(
    xlabel: str,
    ylabel: str,
    *,
    title: str = "",
    xscale: Scale = "linear",
    yscale: Scale = "linear",
    width: float = 6.8,
    height: float = 3.8,
) -> tuple["Figure", "Axes"]:
    """A figure with one pair of labelled axes in the course's look.

    Args:
        xlabel: What runs along the x axis, with its unit: "step (updates)".
        ylabel: What runs along the y axis, with its unit: "loss (nats)".
        title: The figure's claim, when the prose above does not make it.
        xscale: "linear" or "log".
        yscale: "linear" or "log".
        width: Inches; one inch is shown as 100 CSS pixels.
        height: Inches.

    Returns:
        The figure, which no window or notebook shows by itself, and its axes.

    Raises:
        ValueError: A label is empty.
    """
    if not xlabel.strip() or not ylabel.strip():
        raise ValueError(f"axes() expected both labels with their units, got xlabel={xlabel!r} and ylabel={ylabel!r}.")
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(width, height), layout="constrained")
        ax = figure.add_subplot()
        ax.set(xlabel=xlabel, ylabel=ylabel, xscale=xscale, yscale=yscale)
        ax.tick_params(which="both", labelsize=_POINT)
        if title:
            ax.set_title(title)
    return figure, ax


def label_ends(ax: "Axes", *, skip: Sequence[str] = ()) -> "Axes":
    """Write each line's label beside its last point, so that nobody has to match a legend by color.

    Args:
        ax: Axes whose lines were drawn with `label=`.
        skip: Labels to leave out.

    Returns:
        The same axes.
    """
    for line in ax.get_lines():
        label = str(line.get_label())
        points: Any = line.get_xydata()  # (points, 2)
        if label.startswith("_") or label in skip or not len(points):  # matplotlib names unlabelled lines "_child0"
            continue
        x, y = points[-1]
        ax.annotate(
            label, (x, y), (7, 0), textcoords="offset points", va="center", color=line.get_color(), fontsize=_POINT
        )
    return ax


def show(figure: "Figure", alt: str) -> None:
    """Show a figure in a notebook and its page, with words for those who cannot see it. Elsewhere nothing is shown.

    The words are made from the run's numbers, so they travel in the output and not in the notebook's metadata.

    Args:
        figure: The figure; it is closed, so a notebook does not show it a second time.
        alt: What the figure shows, in one or two sentences with its numbers.

    Raises:
        ValueError: The alternative text is empty.
    """
    if not alt.strip():
        raise ValueError("show() expected alternative text, got an empty one; say in a sentence what the figure shows.")
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        bundle = {"text/html": to_html(figure, alt), "text/plain": f"Figure: {alt}"}
        ipython.display.display(bundle, raw=True)
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:  # figures of `axes` are unknown to pyplot; those a chapter made with it would come twice
        pyplot.close(figure)


def to_html(figure: "Figure", alt: str) -> str:
    """The figure as a self-contained HTML image: no file beside the page, nothing to fetch.

    Args:
        figure: The figure.
        alt: Its alternative text; escaped here.

    Returns:
        A `<figure>` element whose image lies on white, so that it is readable on a dark page. On a narrow page the
        image scrolls sideways instead of shrinking until its text is unreadable.
    """
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="png", dpi=_DPI, facecolor="white", metadata={"Software": None})
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    width = f"{100 * figure.get_figwidth():.0f}"
    return (
        '<figure class="course-figure" style="margin:.3em 0;padding:0;overflow-x:auto">'
        f'<img src="data:image/png;base64,{data}" alt="{html.escape(alt)}" width="{width}" '
        f'style="display:block;max-width:100%;min-width:min({width}px,{_NARROWEST});height:auto;'
        'background:white;padding:4px;border-radius:6px;box-sizing:border-box">'
        "</figure>"
    )
