"""Carry out a recipe by the course's own loop: build, look, train, look again, judge."""

from course_lib.hardware import seed_everything
from course_lib.recipes.forecast import duration, forecast
from course_lib.recipes.settings import warmup_warning
from course_lib.recipes.system import Job, Outcome
from course_lib.training import fit


def carry_out(job: Job) -> Outcome:
    """Run a recipe that `build`s a `System`; see `recipes.run` for what it raises."""
    recipe, settings, tell = job.recipe, job.settings, job.tell
    assert recipe.build is not None
    expected = forecast(recipe, settings, job.hardware)
    tell(f"about {duration(expected.seconds)} for {expected.steps:,} updates, from timing a few")
    seed_everything(job.seed)
    system = recipe.build(settings, job.seed)
    for fact in system.facts:
        tell(fact)
    model = system.model.to(job.hardware.device)
    if (before := system.look()) and not job.resume:
        tell(f"before training:\n{before}\n")
    config = settings.fit_config(job.hardware.precisions, job.seed)
    steps = config.total_steps(len(system.train))
    if warning := warmup_warning(settings, steps):
        tell(warning)
    if job.out is not None:
        system.save(job.out)
    record = fit(
        model,
        system.train,
        settings.make_optimizer(model),
        settings.make_schedule(steps),
        config,
        evaluate=system.evaluate,
        out=job.out,
        resume=job.resume,
        on_step=job.on_step,
        progress=job.progress,
        run={**job.description, "forecast_seconds": round(expected.seconds, 1)},
    )
    if after := system.look():
        tell(f"after training:\n{after}\n")
    figures, words = system.report(model)
    finished = record.run["ended"].startswith(("finished", "stopped early"))
    return Outcome(record=record, figures=figures, words=words, finished=finished)
