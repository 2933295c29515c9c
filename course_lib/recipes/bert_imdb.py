"""Recipe `bert-imdb`: the fifth source's run, and the changes that it tried.

The document fine-tunes BERT-base on 2,000 reviews of IMDB (375 updates are 3 epochs of 125 batches of 16), logs every
tenth update, and saves as often and at the end: 38 checkpoints of 1.3 GB. Full scale keeps all of that, and looks first
whether the disk has room. Its variations are the document's: two epochs, batch 8, weight decay 0.05, and DistilBERT.
Pocket scale is MiniLM on as many Pocket Reviews, with three of its six layers in DistilBERT's place, and keeps two
checkpoints.
"""

from dataclasses import replace

from course_lib.recipes.fine_tune_settings import FineTuneSettings, workload
from course_lib.recipes.fine_tuning import carry_out
from course_lib.recipes.system import Recipe

_DOCUMENT = FineTuneSettings(
    epochs=3,
    batch_size=16,
    eval_batch_size=16,
    learning_rate=2e-5,
    weight_decay=0.01,
    schedule="linear",
    clip_norm=1.0,
    log_every=10,
    save_every=10,
    train_limit=2000,
    validation_limit=500,
    test_limit=1000,
)

RECIPE = Recipe(
    name="bert-imdb",
    source="fine-tuning-bert",
    title="BERT's run of 375 updates and the changes its author tried",
    scales={
        "pocket": replace(_DOCUMENT, precision="auto"),
        "full": replace(
            _DOCUMENT, source="imdb", checkpoint="bert-base-uncased", max_length=512, keep_checkpoints=None
        ),
    },
    carry_out=carry_out,
    workload=workload,
    variations={
        "2-epochs": {"epochs": "2"},
        "batch-8": {"batch_size": "8"},
        "decay-0.05": {"weight_decay": "0.05"},
        "distilbert": {"checkpoint": "distilbert-base-uncased"},
        "3-layers": {"layers": "3"},
    },
)
