"""The systems of the source documents, each runnable at two scales from one command (chapters 15 to 18).

`RECIPES` lists them; a recipe is one module named after it. `settings` holds what all can be told, `system` what each
consists of, `run` claims a folder and has it carried out: by the course's loop in `from_scratch`, by Trainer in
`fine_tuning` (with `fine_tune_settings`). `forecast` says how long it will take here, `reviews` loads and judges for
those that read reviews.
"""

from course_lib.recipes import bert_imdb, char_lm, distilbert_imdb, encoder_imdb
from course_lib.recipes.forecast import Forecast, duration, forecast
from course_lib.recipes.run import run
from course_lib.recipes.settings import RecipeError, Settings, parse_changes
from course_lib.recipes.system import Outcome, Recipe, System, Workload

RECIPES: dict[str, Recipe] = {
    module.RECIPE.name: module.RECIPE for module in (distilbert_imdb, bert_imdb, encoder_imdb, char_lm)
}
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


def find(
    name: str, scale: str, changes: dict[str, str] | None = None, variation: str | None = None
) -> tuple[Recipe, Settings]:
    """Look a recipe up and apply changes to one of its scales.

    Args:
        name: The recipe's name.
        scale: "pocket" or "full".
        changes: Setting to value, as text; they come after those of the variation.
        variation: One of the recipe's named sets of changes.

    Raises:
        RecipeError: The name, the scale, the variation, a key or a value does not exist; the message lists what does.
    """
    if name not in RECIPES:
        raise RecipeError(f"no recipe {name!r}; there are: {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    if scale not in recipe.scales:
        raise RecipeError(f"{name}: no scale {scale!r}; there are: {', '.join(recipe.scales)}")
    if variation is not None and variation not in recipe.variations:
        raise RecipeError(f"{name}: no variation {variation!r}; there are: {', '.join(recipe.variations) or 'none'}")
    varied = dict(recipe.variations[variation]) if variation else {}
    return recipe, recipe.scales[scale].replaced({**varied, **(changes or {})})
