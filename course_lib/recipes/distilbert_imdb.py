"""Recipe `distilbert-imdb`: a pretrained encoder learns to tell good reviews from bad ones (the first source's run).

Both scales keep the document's settings to the letter, its mistake included: a warm-up of 500 updates in a run that has
fewer, so that the rate is still rising at the end. The run says so; `--set warmup_steps=47` mends it. Full scale is
DistilBERT on IMDB from the hub. Pocket scale is MiniLM on as many Pocket Reviews, so its log has the document's steps;
it keeps activations, which short reviews leave room for, and takes bf16 where the hardware multiplies it.
"""

from dataclasses import replace

from course_lib.recipes.fine_tune_settings import FineTuneSettings, workload
from course_lib.recipes.fine_tuning import carry_out
from course_lib.recipes.system import Recipe

_DOCUMENT = FineTuneSettings(
    epochs=3,
    batch_size=8,
    eval_batch_size=16,
    accumulation=2,
    learning_rate=3e-5,
    weight_decay=0.01,
    schedule="linear",
    warmup_steps=500,
    clip_norm=1.0,
    log_every=100,
    best_metric="f1_weighted",
    train_limit=2500,
    test_limit=1000,
)

RECIPE = Recipe(
    name="distilbert-imdb",
    source="training-output-explained",
    title="a pretrained encoder fine-tuned to tell good reviews from bad",
    scales={
        "pocket": replace(_DOCUMENT, precision="auto"),
        "full": replace(
            _DOCUMENT,
            source="imdb",
            checkpoint="distilbert-base-uncased",
            validation_limit=1000,
            max_length=512,
            gradient_checkpointing=True,
            keep_checkpoints=None,
        ),
    },
    carry_out=carry_out,
    workload=workload,
    variations={
        "warmup-47": {"warmup_steps": "47"},
        "frozen": {"freeze_body": "true", "learning_rate": "1e-1", "warmup_steps": "47"},
    },
    document_minutes=54,
)
