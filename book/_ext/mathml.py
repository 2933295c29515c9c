"""Turn TeX into MathML while the book is built, so that a page needs no script and no network to show a formula.

Sphinx's default is MathJax, which a reader's browser would fetch. Browsers draw MathML by themselves. The conversion is
latex2mathml's; what it lacks of the TeX that this book uses is mended here, and what neither knows is a build warning.
"""

import html
import re
import unicodedata
from xml.etree import ElementTree

import latex2mathml.converter
from docutils import nodes
from latex2mathml import exceptions
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)

# Everything that latex2mathml raises for TeX that it cannot read; its exceptions share no base class of their own.
CONVERSION_ERRORS = tuple(
    value for value in vars(exceptions).values() if isinstance(value, type) and issubclass(value, Exception)
)
# latex2mathml knows split and align*; these environments mean the same inside a formula whose number the page prints.
ENVIRONMENTS = {"aligned": "split", "align": "align*", "equation": "split", "equation*": "split", "gathered": "align*"}
# TeX sets a thin space after these names when a letter follows.
OPERATOR_BEFORE_LETTER = re.compile(
    r"(<mi>(?:log|ln|exp|max|min|sin|cos|tanh)</mi>)(?=<m(?:i|n|sub|sup|subsup|over|frac)>)"
)
# latex2mathml writes a fraction without its denominator without complaint.
ARITY = {"mfrac": 2, "mroot": 2, "msub": 2, "msup": 2, "mover": 2, "munder": 2, "msubsup": 3, "munderover": 3}
STYLED_LETTER = re.compile(r'<mi mathvariant="(bold|bold-italic|italic)">([A-Za-z])</mi>')


class MathError(ValueError):
    """TeX that could not become MathML."""


def _styled_letter(match: re.Match[str]) -> str:
    """A bold or italic letter as its own character: browsers ignore every mathvariant except "normal"."""
    style = match[1].replace("-", " ").upper()
    case = "CAPITAL" if match[2].isupper() else "SMALL"
    try:
        letter = unicodedata.lookup(f"MATHEMATICAL {style} {case} {match[2].upper()}")
    except KeyError:  # italic h alone has an older code point, the Planck constant
        letter = "\u210e"
    return f"<mi>{letter}</mi>"


def to_mathml(tex: str, *, display: bool) -> str:
    """Convert one formula.

    Args:
        tex: The formula, without dollar signs.
        display: Whether it stands on its own line.

    Returns:
        One `<math>` element.

    Raises:
        MathError: The TeX is malformed, or uses a command that is not known here.
    """
    for theirs, ours in ENVIRONMENTS.items():
        tex = tex.replace(rf"\begin{{{theirs}}}", rf"\begin{{{ours}}}").replace(
            rf"\end{{{theirs}}}", rf"\end{{{ours}}}"
        )
    try:
        mathml = latex2mathml.converter.convert(tex.strip(), display="block" if display else "inline")
    except CONVERSION_ERRORS as error:
        raise MathError(f"malformed TeX ({type(error).__name__}): {tex!r}") from error
    unknown = re.search(r">\s*(\\[A-Za-z]+|&)\s*<", mathml)
    if unknown:
        raise MathError(f"latex2mathml does not know {unknown[1]!r}: {tex!r}")
    mathml = STYLED_LETTER.sub(_styled_letter, mathml)
    mathml = mathml.replace("<mi>&#x02032;</mi>", '<mo lspace="0" rspace="0">&#x02032;</mo>')
    mathml = OPERATOR_BEFORE_LETTER.sub(r'\1<mspace width="0.167em" />', mathml)
    try:
        elements = ElementTree.fromstring(mathml).iter()
    except ElementTree.ParseError as error:
        raise MathError(f"the MathML of {tex!r} is not well formed: {error}") from error
    for element in elements:
        name = element.tag.rpartition("}")[2]
        if len(element) != ARITY.get(name, len(element)):
            raise MathError(f"<{name}> needs {ARITY[name]} parts, got {len(element)}: {tex!r}")
    return mathml


def _convert_or_warn(node: nodes.Element, *, display: bool) -> str:
    tex = node.astext()
    parts = [part for part in tex.split("\n\n") if part.strip()]
    if display and len(parts) > 1:  # a blank line separates formulas that stand under one another
        tex = r"\begin{split}" + r" \\ ".join(parts) + r"\end{split}"
    elif display and r"\\" in tex and r"\begin" not in tex:
        tex = r"\begin{split}" + tex + r"\end{split}"
    try:
        return to_mathml(tex, display=display)
    except MathError as error:
        logger.warning("%s", error, location=node, type="mathml")
        return f"<code>{html.escape(tex)}</code>"


def visit_math(self: HTML5Translator, node: nodes.math) -> None:
    """Write an inline formula."""
    self.body.append(self.starttag(node, "span", "", CLASS="math notranslate nohighlight"))
    self.body.append(_convert_or_warn(node, display=False) + "</span>")
    raise nodes.SkipNode


def visit_displaymath(self: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula on its own line, with its number and a link to it where it has one."""
    self.body.append(self.starttag(node, "div", CLASS="math notranslate nohighlight"))
    if node["number"]:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append(_convert_or_warn(node, display=True) + "</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool | str]:
    """Register the renderer; `html_math_renderer: mathml` in _config.yml chooses it."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_displaymath, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
