"""The one place where the course reaches for the Hugging Face hub (chapter 3).

Offline sources are the default everywhere. A person who names an online source gets it from the hub or from the cache
of an earlier download, or an error that says what to do; nothing else is put in its place.
"""

from typing import Any


class DataError(ValueError):
    """Data that is missing, damaged or out of reach; the message says which, where, and what to do."""


def load_hub_split(repository: str, split: str, *, revision: str | None = None, offline: str) -> Any:
    """Load one split of a dataset repository through `datasets.load_dataset`.

    Args:
        repository: name on the hub, "owner/name".
        split: name of the split there.
        revision: commit to load; None takes the newest.
        offline: the call that needs no network, for the error message.

    Returns:
        The split, a `datasets.Dataset`.

    Raises:
        DataError: neither the hub nor the local cache has it.
    """
    # Imported here: `datasets` takes seconds to import, and the offline sources do not need it.
    import datasets
    from huggingface_hub.errors import HTTPError  # of httpx or httpx2, whichever the installed version uses

    try:
        return datasets.load_dataset(repository, split=split, revision=revision)
    except (OSError, ValueError, RuntimeError, HTTPError) as error:
        raise DataError(
            f"could not load {repository!r} (split {split!r}) from the Hugging Face hub: "
            f"{type(error).__name__}: {error} -- run the same call once with a connection to https://huggingface.co "
            "and HF_HUB_OFFLINE unset; the download stays in the cache folder of HF_HOME and later calls work offline. "
            f"With no network, {offline}"
        ) from error
