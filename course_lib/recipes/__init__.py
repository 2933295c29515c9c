"""The systems of the source documents, each runnable at two scales from one command (chapters 15 to 18).

`RECIPES` lists them. `settings` holds what all can be told, `system` what each builds, `run` how one is carried out,
`forecast` how long it will take here. A recipe is one module named after it.
"""

from course_lib.recipes import char_lm, encoder_imdb
from course_lib.recipes.forecast import Forecast, duration, forecast
from course_lib.recipes.run import Outcome, run
from course_lib.recipes.settings import RecipeError, Settings, parse_changes
from course_lib.recipes.system import Recipe, System, Workload

RECIPES: dict[str, Recipe] = {module.RECIPE.name: module.RECIPE for module in (encoder_imdb, char_lm)}
"""Every recipe by its name."""

__all__ = [
    "RECIPES",
    "Forecast",
    "Outcome",
    "Recipe",
    "RecipeError",
    "Settings",
    "System",
    "Workload",
    "duration",
    "find",
    "forecast",
    "parse_changes",
    "run",
]


def find(name: str, scale: str, changes: dict[str, str] | None = None) -> tuple[Recipe, Settings]:
    """Look a recipe up and apply changes to one of its scales.

    Args:
        name: The recipe's name.
        scale: "pocket" or "full".
        changes: Setting to value, as text.

    Raises:
        RecipeError: The name, the scale, a key or a value does not exist; the message lists what does.
    """
    if name not in RECIPES:
        raise RecipeError(f"no recipe {name!r}; there are: {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    if scale not in recipe.scales:
        raise RecipeError(f"{name}: no scale {scale!r}; there are: {', '.join(recipe.scales)}")
    return recipe, recipe.scales[scale].replaced(changes or {})
