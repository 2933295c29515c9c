"""The rival that counts: TF-IDF of words and pairs of words, and a logistic regression (chapter 3)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from course_lib.data import Review
from course_lib.sentiment.trained import Trained, texts_and_labels


def train_tfidf(reviews: Sequence[Review]) -> Trained:
    """Count words and pairs of words, weigh the rare ones up, and fit a logistic regression. It has no seed.

    Args:
        reviews: N labeled reviews, both labels among them.

    Raises:
        ValueError: only one label is there.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    texts, labels = texts_and_labels(reviews)
    pipeline = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=10, max_iter=1000)).fit(
        texts, labels
    )

    def logits(texts: Sequence[str]) -> Tensor:
        return torch.from_numpy(pipeline.predict_log_proba(list(texts))).float()  # (N, 2)

    return Trained("TF-IDF", logits, None, pipeline)
