import math
import re

import pytest
import torch
import traitlets

from course_lib import optim, recorded
from course_lib.recorded import loss_plane
from course_lib.widgets.base import run
from course_lib.widgets.optimizer_playground import OptimizerPlayground

NAME = "optimizer_playground"
PLANE = recorded.load("loss_plane")
OPTIMIZERS = ["SGD", "Momentum", "RMSProp", "Adam", "AdamW"]
DEFAULTS = run(NAME, "defaults")


# --- the surfaces once more, for autograd ---


def catmull_rom(before, left, right, after, t):
    """The cubic through `left` and `right` whose slopes there are half the distance of their neighbors."""
    slope_left, slope_right = (right - before) / 2, (after - left) / 2
    return (
        (2 * t**3 - 3 * t**2 + 1) * left
        + (t**3 - 2 * t**2 + t) * slope_left
        + (3 * t**2 - 2 * t**3) * right
        + (t**3 - t**2) * slope_right
    )


def plane(x, y):
    grid = torch.tensor(PLANE["losses"], dtype=torch.float64)
    beyond, cells, shares = [], [], []
    for coordinate, (low, high), count in ((x, PLANE["x"], grid.shape[1]), (y, PLANE["y"], grid.shape[0])):
        inside = coordinate.clamp(low, high)
        position = (inside - low) / (high - low) * (count - 1)
        first = min(max(math.floor(position.item()), 0), count - 2)
        beyond.append(coordinate - inside)
        cells.append([min(max(first + offset, 0), count - 1) for offset in (-1, 0, 1, 2)])
        shares.append(position - first)
    rows = [catmull_rom(*(grid[j, i] for i in cells[0]), shares[0]) for j in cells[1]]
    return catmull_rom(*rows, shares[1]) + 0.05 * (beyond[0] ** 2 + beyond[1] ** 2)


def tilted(x, y):
    u, v = (x + y) / math.sqrt(2), (y - x) / math.sqrt(2)
    return (u**2 + 100 * v**2) / 2


SURFACES = {
    "bowl": lambda x, y: ((x - 2) ** 2 + (y - 1) ** 2) / 2,
    "ravine": lambda x, y: (x**2 + 100 * y**2) / 2,
    "tilted ravine": tilted,
    "saddle": lambda x, y: (x**2 - 1) ** 2 / 4 + y**2 / 2,
    "Rosenbrock": lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2,
    "plane": plane,
}


def in_javascript(surface, optimizer, **settings):
    """What the widget's own file walks from the surface's suggested start."""
    return run(
        NAME,
        "walk(surfaceOf(state), optimizer, {...state, rate}, surfaceOf(state).start, 200)",
        state={**DEFAULTS, "surface": surface, "plane": PLANE, **settings},
        optimizer=optimizer,
        rate=settings.get("rate", suggested(surface)["rates"][optimizer]),
    )


def suggested(surface):
    return run(NAME, "suggested(state)", state={"surface": surface, "plane": PLANE})


def library(surface, optimizer, w, **settings):
    own = {"lr": settings.get("rate", suggested(surface)["rates"][optimizer]), "weight_decay": settings.get("decay", 0)}
    if optimizer == "Momentum":
        own["momentum"] = settings.get("momentum", 0.9)
    if optimizer == "RMSProp":
        own["alpha"] = settings.get("alpha", 0.99)
    if optimizer.startswith("Adam"):
        own["betas"] = (settings.get("beta1", 0.9), settings.get("beta2", 0.999))
    return getattr(optim, optimizer)([w], **own)


def in_torch(surface, optimizer, *, chance=None, along=None, **settings):
    """200 steps by course_lib.optim on float64 numbers, with gradients by autograd.

    With `along` each step starts at the place given: rounding errors do not grow from step to step, as they do where a
    large rate makes a walk chaotic.
    """
    w = torch.tensor(suggested(surface)["start"], dtype=torch.float64, requires_grad=True)
    stepper = library(surface, optimizer, w, **settings)
    places, losses = [w.tolist()], []
    for step in range(200):
        if along is not None:
            w.data = torch.tensor(along[step], dtype=torch.float64)
        loss = SURFACES[surface](*w)
        (w.grad,) = torch.autograd.grad(loss, w)
        if chance is not None:
            w.grad += settings["noise"] * torch.tensor(chance[step], dtype=torch.float64)
        stepper.step()
        losses.append(loss.item())
        places.append(w.tolist())
    return places, [*losses, SURFACES[surface](*w).item()]


def assert_equal(got, expected, tolerance=1e-9):
    in_double = [torch.tensor(values, dtype=torch.float64) for values in (got, expected)]
    torch.testing.assert_close(*in_double, rtol=tolerance, atol=tolerance)


CALM = {
    "as they come": {},
    "with decay": {"decay": 0.03},
    "other shares": {"momentum": 0.7, "alpha": 0.98, "beta1": 0.8, "beta2": 0.99, "decay": 0.1},
}


@pytest.mark.parametrize("settings", CALM.values(), ids=CALM)
@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_walks_equal_the_library(optimizer, surface, settings):
    rate = 0.3 * suggested(surface)["rates"][optimizer]
    walked = in_javascript(surface, optimizer, rate=rate, **settings)
    places, losses = in_torch(surface, optimizer, rate=rate, **settings)
    assert len(walked["places"]) == 201
    assert_equal(walked["places"], places)
    assert_equal(walked["losses"], losses)
    assert math.dist(places[0], places[-1]) > 0.01


WILD = {
    "as they come": {},
    "with decay": {"decay": 0.3},
    "short averages": {"momentum": 0.5, "alpha": 0.9, "beta1": 0.8, "beta2": 0.95, "decay": 0.03},
    "without averages": {"momentum": 0, "alpha": 0, "beta1": 0, "beta2": 0.5},
}


@pytest.mark.parametrize("settings", WILD.values(), ids=WILD)
@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_each_step_equals_the_library_at_large_rates_too(optimizer, surface, settings):
    walked = in_javascript(surface, optimizer, **settings)
    places, losses = in_torch(surface, optimizer, along=walked["places"], **settings)
    assert_equal(walked["places"], places, tolerance=1e-11)
    assert_equal(walked["losses"], losses, tolerance=1e-11)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_noise_is_the_same_for_all_and_equals_the_library(optimizer):
    chance = run(NAME, "normals(200)")
    walked = in_javascript("bowl", optimizer, noise=0.5, decay=0.01)
    places, _ = in_torch("bowl", optimizer, noise=0.5, decay=0.01, chance=chance)
    assert_equal(walked["places"], places)


def test_noise_is_standard_normal_and_repeats():
    drawn = torch.tensor(run(NAME, "normals(4000)"))
    assert drawn.mean(dim=0).abs().max() < 0.05
    assert (drawn.std(dim=0) - 1).abs().max() < 0.05
    assert abs(torch.corrcoef(drawn.T)[0, 1]) < 0.05
    assert (drawn.abs() < 1.96).float().mean() == pytest.approx(0.95, abs=0.01)
    assert drawn[:50].tolist() == torch.tensor(run(NAME, "normals(50)")).tolist()


@pytest.mark.parametrize("surface", SURFACES)
def test_gradients_by_hand_equal_autograd_on_the_map_and_beyond(surface):
    x, y = run(NAME, "[surfaceOf(state).x, surfaceOf(state).y]", state={"surface": surface, "plane": PLANE})
    shares = torch.rand(300, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 1.6 - 0.3
    low, high = torch.tensor([x, y], dtype=torch.float64).T
    for point in (low + shares * (high - low)).tolist():
        w = torch.tensor(point, dtype=torch.float64, requires_grad=True)
        loss = SURFACES[surface](*w)
        (expected,) = torch.autograd.grad(loss, w)
        got = run(
            NAME,
            "[surfaceOf(state).loss(...at), surfaceOf(state).gradient(...at)]",
            state={"surface": surface, "plane": PLANE if surface == "plane" else None},
            at=point,
        )
        assert got[0] == pytest.approx(loss.item(), rel=1e-10, abs=1e-10)
        assert got[1] == pytest.approx(expected.tolist(), rel=1e-10, abs=1e-10)


def test_the_plane_passes_through_the_recorded_losses():
    (x, _), (y, _) = PLANE["x"], PLANE["y"]
    steps = [(PLANE[key][1] - PLANE[key][0]) / 40 for key in ("x", "y")]
    for i, j in ((0, 0), (40, 40), (7, 23), (40, 3)):
        at = [x + i * steps[0], y + j * steps[1]]
        got = run(NAME, "planeSurface(plane).loss(...at)", plane=PLANE, at=at)
        assert got == pytest.approx(PLANE["losses"][j][i], rel=1e-9)


@pytest.mark.parametrize("surface", [name for name in SURFACES if name != "plane"])
def test_the_minima_are_minima(surface):
    minima = run(NAME, "SURFACES[surface].minima", surface=surface)
    assert minima
    for minimum in minima:
        assert SURFACES[surface](*torch.tensor(minimum, dtype=torch.float64)) == pytest.approx(0, abs=1e-15)


# --- the map ---


def test_contours_of_a_bowl_are_closed_circles():
    lines = run(NAME, "contour(sampled(SURFACES.bowl), Math.sqrt(2))")  # radius 2 around (2, 1)
    (x, width), (y, height) = (-5, 11 / 90), (-4, 9 / 90)
    assert len(lines) == 1
    assert lines[0][0] == lines[0][-1]
    assert len(lines[0]) > 60
    for i, j in lines[0]:
        assert math.hypot(x + i * width - 2, y + j * height - 1) == pytest.approx(2, abs=0.01)


def test_a_line_that_leaves_the_map_is_whole_and_open():
    grid = [[float(j)] * 5 for j in range(5)]
    assert run(NAME, "contour(grid, 1.5)", grid=grid) == [[[i, 1.5] for i in range(5)]]


def test_contours_through_a_pass_keep_both_branches():
    grid = [[(i - 2.5) * (j - 2.5) for i in range(6)] for j in range(6)]
    lines = run(NAME, "contour(grid, 0.1)", grid=grid)
    assert len(lines) == 2
    assert sum(map(len, lines)) == sum(len({tuple(point) for point in line}) for line in lines)


def test_thinning_keeps_ends_and_shape():
    points = [[i, 0] for i in range(10)] + [[9, i] for i in range(1, 10)]
    kept = run(NAME, "thinned(points)", points=points)
    assert kept[0] == [0, 0]
    assert [9, 0] in kept
    assert kept[-1] == [9, 9]
    assert len(kept) < 14


# --- the picture ---


def picture(**state):
    return run(NAME, "view(state)", state=OptimizerPlayground(**state).current_state())


def value(drawn, name):
    return re.search(f'data-value="{re.escape(name)}">([^<]*)<', drawn["reading"])[1]


def test_the_reading_shows_the_losses_of_the_steps_shown():
    drawn = picture(surface="ravine", optimizers=["SGD", "Momentum"], shown=25)
    for optimizer in ("SGD", "Momentum"):
        _, losses = in_torch("ravine", optimizer)
        assert float(value(drawn, f"loss {optimizer}")) == pytest.approx(losses[25], rel=5e-3)
        assert float(value(drawn, f"lowest {optimizer}")) == pytest.approx(min(losses[:26]), rel=5e-3)
    assert value(drawn, "step") == "25"


def test_step_0_shows_the_start_alone():
    drawn = picture(surface="bowl", optimizers=["SGD"], shown=0)
    assert float(value(drawn, "place SGD")) == pytest.approx(math.hypot(6, 3), rel=5e-3)
    assert float(value(drawn, "loss SGD")) == 22.5
    assert "SGD at (−4, 4)" in drawn["panels"][0]


def test_the_nearest_of_two_minima_counts():
    drawn = picture(surface="saddle", optimizers=["SGD"], start=[-0.5, 0.0], shown=200)
    assert float(value(drawn, "place SGD").replace("−", "-")) < 1e-3


def test_leaving_the_map_and_divergence_are_told_with_their_step():
    settings = {"surface": "ravine", "optimizers": ["SGD"], "rates": {"SGD": 0.021}}
    places, losses = in_torch("ravine", "SGD", rate=0.021)
    left = next(step for step, (_, y) in enumerate(places) if abs(y) > 1.4)
    assert value(picture(shown=left - 1, **settings), "place SGD") == f"{math.dist(places[left - 1], (0, 0)):.3g}"
    assert value(picture(shown=left + 2, **settings), "place SGD") == f"left the map at step {left}"
    gone = next(step for step, loss in enumerate(losses) if loss > 1e9)
    assert value(picture(shown=200, **settings), "place SGD") == f"diverged at step {gone}"


def test_a_huge_rate_still_gives_a_picture():
    drawn = picture(surface="Rosenbrock", optimizers=OPTIMIZERS, rates=dict.fromkeys(OPTIMIZERS, 1000.0), shown=200)
    assert "NaN" not in "".join(drawn["panels"])
    assert "Infinity" not in "".join(drawn["panels"])
    assert value(drawn, "place SGD").startswith("diverged at step")


@pytest.mark.parametrize(("surface", "minimum"), [("ravine", [0.0, 0.0]), ("bowl", [2.0, 1.0])])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_a_start_at_the_minimum_gives_a_picture(surface, minimum, decay):
    drawn = picture(surface=surface, start=minimum, decay=decay)
    assert "NaN" not in "".join(drawn["panels"])
    stays = minimum == [0.0, 0.0] or decay == 0
    assert (value(drawn, "loss SGD") == "0") is stays


@pytest.mark.parametrize(("decay", "same"), [(0.0, True), (0.1, False)])
def test_adam_and_adamw_differ_by_decay(decay, same):
    drawn = picture(optimizers=["Adam", "AdamW"], decay=decay)
    assert (value(drawn, "loss Adam") == value(drawn, "loss AdamW")) is same
    assert ("Adam and AdamW take the same steps" in drawn["reading"]) is same


def test_turning_the_ravine_changes_nothing_for_sgd_and_momentum_and_something_for_adam():
    def last(surface, optimizer):
        return in_torch(surface, optimizer)[1][60]

    for optimizer in ("SGD", "Momentum"):
        assert last("tilted ravine", optimizer) == pytest.approx(last("ravine", optimizer), rel=0.01)
    for optimizer in ("RMSProp", "Adam"):
        assert last("tilted ravine", optimizer) > 2 * last("ravine", optimizer)


def test_in_the_plane_two_kinds_of_optimizers_end_where_their_runs_ended():
    marks = {mark["name"]: mark["at"] for mark in PLANE["marks"]}
    for optimizer, run_of in (("SGD", "Momentum"), ("Momentum", "Momentum"), ("Adam", "AdamW"), ("AdamW", "AdamW")):
        end = in_javascript("plane", optimizer)["places"][-1]
        nearest = min(marks, key=lambda name: math.dist(end, marks[name]))
        assert nearest == run_of


# --- the state ---


def problems(**state):
    return run(NAME, "check(state)", state={**DEFAULTS, "plane": PLANE, **state})


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"surface": "cliff"}, "surface: expected one of bowl, ravine, tilted ravine, saddle, Rosenbrock, plane"),
        ({"surface": "plane", "plane": None}, "surface: expected one of"),
        ({"plane": {**PLANE, "losses": [[1, 2], [3, 4]]}}, "plane: expected null or"),
        ({"plane": {**PLANE, "marks": [None]}}, "plane: expected null or"),
        ({"plane": {**PLANE, "x": [3, 3]}}, "plane: expected null or"),
        ({"plane": {}}, "plane: expected null or"),
        ({"optimizers": []}, "optimizers: expected one or more of SGD, Momentum, RMSProp, Adam, AdamW, got []"),
        ({"optimizers": ["SGD", "Lion"]}, "optimizers: expected one or more of"),
        ({"rates": {"SGD": 0, "Momentum": 0.1, "Adam": 0.1}}, "rate of SGD: expected a number above 0"),
        ({"rates": {"SGD": 0.1, "Momentum": 0.1}}, "rate of Adam: expected a number above 0"),
        ({"rates": None}, "rate of SGD"),
        ({"selected": "Lion"}, "selected: expected one of"),
        ({"momentum": 1}, "momentum: expected a number from 0 to below 1"),
        ({"alpha": -0.1}, "alpha: expected"),
        ({"beta1": 1}, "beta1: expected"),
        ({"beta2": None}, "beta2: expected"),
        ({"decay": -1}, "decay: expected a number from 0"),
        ({"noise": -1}, "noise: expected a number from 0"),
        ({"start": [1]}, "start: expected two numbers"),
        ({"start": [99, 0]}, "start x: expected a number from −3 to 12, got 99"),
        ({"start": [0, 5]}, "start y: expected"),
        ({"start": [0, None]}, "start: expected two numbers"),
        ({"total": 0}, "total: expected a whole number"),
        ({"shown": 201}, "shown: expected a whole number from 0 to 200, got 201"),
        ({"shown": 1.5}, "shown: expected a whole number"),
    ],
)
def test_refuses_in_words(state, message):
    found = problems(**state)
    assert found
    assert found[0].startswith(message)


@pytest.mark.parametrize("surface", SURFACES)
def test_what_a_surface_suggests_is_accepted(surface):
    assert problems(surface=surface, optimizers=OPTIMIZERS, **suggested(surface)) == []


def test_the_defaults_in_both_languages_agree():
    state = OptimizerPlayground().current_state()
    assert {**state, "plane": None} == DEFAULTS
    assert {name: OptimizerPlayground.class_traits()[name].default() for name in ("rates", "start")} == {
        name: DEFAULTS[name] for name in ("rates", "start")
    }


def test_python_fills_in_what_the_surface_suggests():
    widget = OptimizerPlayground(surface="saddle", rates={"SGD": 0.7})
    assert widget.start == [0.001, 1.3]
    assert widget.rates == {**suggested("saddle")["rates"], "SGD": 0.7}
    assert OptimizerPlayground(surface="bowl", start=[0.0, 0.0]).start == [0.0, 0.0]


def test_an_unknown_surface_or_setting_is_told():
    assert "surface: expected one of" in OptimizerPlayground(surface="cliff").to_html()
    with pytest.raises(TypeError, match="got color"):
        OptimizerPlayground(color="red")
    with pytest.raises(traitlets.TraitError):
        OptimizerPlayground(shown="many")


def test_controls_follow_the_selected_optimizer():
    def keys(selected, **state):
        shown = {**DEFAULTS, "optimizers": OPTIMIZERS, "selected": selected, **state}
        return [spec["key"] for spec in run(NAME, "controls(state)", state=shown)]

    own = {name: set(keys(name)) & {"momentum", "alpha", "beta1", "beta2"} for name in OPTIMIZERS}
    assert own["SGD"] == set()
    assert own["Momentum"] == {"momentum"}
    assert own["RMSProp"] == {"alpha"}
    assert own["Adam"] == own["AdamW"] == {"beta1", "beta2"}
    assert keys("SGD", optimizers=["Momentum"]) == keys("Momentum")  # one that is not shown cannot be selected


def test_a_change_of_surface_brings_its_start_and_rates():
    change = "controls(state).find(({key}) => key === 'surface').change('plane', state)"
    patch = run(NAME, change, state={**DEFAULTS, "plane": PLANE})
    assert patch == {"surface": "plane", **suggested("plane")}


def test_the_rate_slider_changes_one_rate():
    change = "controls(state).find(({key}) => key === 'rate').change(0.5, state).rates"
    assert run(NAME, change, state={**DEFAULTS, "selected": "Adam"}) == {**DEFAULTS["rates"], "Adam": 0.5}


def test_the_button_says_pause_while_playing():
    label = "controls(state, {playing}).find(({key}) => key === 'play').label"
    assert run(NAME, label, state=DEFAULTS, playing=True) == "Pause"
    assert run(NAME, label, state=DEFAULTS, playing=False) == "Play"


def test_a_tap_sets_the_start():
    tap = "const told = []; pointed({state, set: (patch) => told.push(patch)}, panel, 0.5, 0.25)"
    script = f"(() => {{ {tap}; return told; }})()"
    assert run(NAME, script, state=DEFAULTS, panel=0) == [{"start": [4.5, -0.7]}]
    assert run(NAME, script, state=DEFAULTS, panel=1) == []


PLAY = """(() => {
  let state = {...given}, frames = [], kept = [];
  globalThis.requestAnimationFrame = (next) => frames.push(next);
  const tools = {
    get state() { return state; }, frame: {playing: false},
    set(patch, {keep = true} = {}) { state = {...state, ...patch}; if (keep) kept.push(state.shown); },
  };
  commands.play(tools);
  let count = 0;
  while (frames.length && count < limit) { frames.shift()(); count += 1; }
  const before = state.shown;
  if (tools.frame.playing) { commands.play(tools); while (frames.length) frames.shift()(); }
  return {before, after: state.shown, kept, playing: tools.frame.playing};
})()"""


def test_play_runs_to_the_end_and_keeps_only_that():
    assert run(NAME, PLAY, given=DEFAULTS, limit=1000) == {"before": 200, "after": 200, "kept": [200], "playing": False}


def test_play_at_the_end_starts_again_and_pause_keeps_the_step():
    played = run(NAME, PLAY, given={**DEFAULTS, "shown": 200}, limit=30)
    assert played == {"before": 30, "after": 30, "kept": [30], "playing": False}


# --- the page ---


@pytest.mark.parametrize("surface", SURFACES)
def test_the_page_is_small(surface):
    page = OptimizerPlayground(surface=surface).to_html()
    assert len(page.encode()) < 110_000
    assert page.count("<svg viewBox=") >= 2


def test_a_state_gives_the_same_page_each_time():
    assert OptimizerPlayground(noise=1.0).to_html() == OptimizerPlayground(noise=1.0).to_html()


# --- the recording ---


def test_the_recorded_plane_is_complete_and_more_than_a_bowl():
    grid = torch.tensor(PLANE["losses"])
    assert grid.shape == (41, 41)
    inner = grid[1:-1, 1:-1]
    steps = [(j, i) for j in (-1, 0, 1) for i in (-1, 0, 1) if (j, i) != (0, 0)]
    around = torch.stack([grid[1 + j : 40 + j, 1 + i : 40 + i] for j, i in steps])
    assert (inner < around.amin(dim=0)).sum() >= 2  # more than one low point
    assert {mark["name"] for mark in PLANE["marks"]} == set(loss_plane.RATES)


def test_a_plane_goes_through_its_three_points():
    start, first, second = torch.randn(3, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = loss_plane.plane_through(start, first, second)
    torch.testing.assert_close(found.along @ found.along.T, torch.eye(2, dtype=torch.float64))
    torch.testing.assert_close(found.origin + found.corners @ found.along, torch.stack([first, second]))
    assert abs(found.corners[0, 1]) < 1e-9
    with pytest.raises(ValueError, match="not on one line"):
        loss_plane.plane_through(start, first, 3 * first - 2 * start)


def test_a_control_changes_the_state_of_now_and_not_that_of_its_drawing():
    # Two changes within one frame: the second must keep the first, though its control was drawn before it.
    script = """(() => {
      const before = { ...defaults, plane: null };
      const specs = controls(before);
      const of = (key) => specs.find((spec) => spec.key === key);
      const change = (key, value, state) => ({ ...state, ...of(key).change(value, state) });
      const other = { ...before, rates: { ...before.rates, Adam: 0.5 } };
      const moved = change("start y", -0.8, change("start x", 6, before));
      return { start: moved.start, Adam: change("rate", 0.001, other).rates.Adam };
    })()"""
    assert run("optimizer_playground", script) == {"start": [6, -0.8], "Adam": 0.5}
