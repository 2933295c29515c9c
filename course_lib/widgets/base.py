"""`CourseWidget`: what a widget of the course is to Python (first met in chapter 07).

A widget is one `.js` file, with what it shares in `shared.js`, and a class whose synced traits are its state. Three
places run that same file:

- JupyterLab and VS Code, through anywidget, with the state in the kernel;
- the published page, where the file is inlined and a stand-in keeps the state (`text/html` of the output);
- Python itself, in a small JavaScript engine: it writes the picture into the page before any script runs there, and
  lets tests compare the widget's arithmetic with the library's.
"""

import hashlib
import json
import re
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

import anywidget
import quickjs
import traitlets

FOLDER = Path(__file__).parent
_ONE_AT_A_TIME = Lock()  # an engine is not made for two threads
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./shared\.js";\n', re.MULTILINE)


@cache
def module_source(name: str) -> str:
    """The ES module that a notebook's front end runs: `shared.js` and the widget's own file as one text.

    Args:
        name: The widget's file without ".js".

    Raises:
        ValueError: The file does not import what it shares in the one form that can be taken out.
    """
    shared = (FOLDER / "shared.js").read_text(encoding="utf-8")
    own, imports = _IMPORT.subn("", (FOLDER / f"{name}.js").read_text(encoding="utf-8"))
    if imports != 1:
        raise ValueError(f'{name}.js: expected one line import {{ ... }} from "./shared.js"; got {imports}')
    return f"{shared}\n{own}"


@cache
def script_source(name: str) -> str:
    """The same text as a script that exports nothing: its widget is the constant `exported`."""
    script = module_source(name).replace("export default ", "const exported = ")
    return re.sub(r"^export ", "", script, flags=re.MULTILINE)


@cache
def stylesheet() -> str:
    """The look that all widgets share."""
    return (FOLDER / "widget.css").read_text(encoding="utf-8")


def run(name: str, expression: str, **values: Any) -> Any:
    """Compute an expression inside a widget's script, in Python.

    Args:
        name: The widget's file without ".js".
        expression: JavaScript that may use everything the script defines, and the values by their names.
        values: Anything that JSON can carry.

    Returns:
        What it came to, through JSON: infinities and NaN come back as None.

    Raises:
        quickjs.JSException: The script threw an error.
    """
    given = "".join(f"const {key} = {json.dumps(value)}; " for key, value in values.items())
    with _ONE_AT_A_TIME:
        answer: str = _engine(name).eval(f"(() => {{ {given}return JSON.stringify({expression}); }})()")
    return json.loads(answer)


@cache
def _engine(name: str) -> quickjs.Context:
    engine = quickjs.Context()
    engine.eval(script_source(name))
    return engine


class CourseWidget(anywidget.AnyWidget):
    """A widget whose state is its synced traits, and whose picture is a pure function of that state.

    A subclass names its file in `_name` and gives the file's `defaults` as traits. A value of a wrong type raises
    traitlets' TraitError; one out of range is refused in the widget, with a message that says what was expected.
    """

    _name: ClassVar[str]
    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)

    def __init__(self, **state: Any) -> None:
        unknown = state.keys() - set(self.trait_names())
        if unknown:
            raise TypeError(
                f"{type(self).__name__}: expected only {', '.join(run(self._name, 'Object.keys(defaults)'))}; "
                f"got {', '.join(sorted(unknown))}"
            )
        super().__init__(_esm=module_source(self._name), _css=stylesheet(), **state)

    def current_state(self) -> dict[str, Any]:
        """The state as the page gets it: plain JSON, by the names in the file's `defaults`."""
        return {key: getattr(self, key) for key in run(self._name, "Object.keys(defaults)")}

    def to_html(self) -> str:
        """The widget as a page without a kernel shows it: the picture at once, the script behind it."""
        state = self.current_state()
        markup = run(self._name, "markup(exported.parts, state)", state=state)
        given = json.dumps(state, separators=(",", ":")).replace("<", "\\u003c")  # or a text could end the script
        mark = hashlib.sha256(given.encode()).hexdigest()[:12]
        return (
            f'<div class="course-widget"><style>{stylesheet()}</style>'
            f'<div data-wit="{self._name}-{mark}"><div class="wit">{markup}'
            "<noscript><p>This picture moves when the page may run scripts.</p></noscript></div></div>"
            f'<script type="module">{script_source(self._name)}\n'
            f'start(exported, "{self._name}-{mark}", {given});</script></div>'
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """What anywidget shows in a notebook, and beside it what a page without a kernel shows."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        return {**data, "text/html": self.to_html(), "text/plain": f"{type(self).__name__} (a widget)"}, metadata
