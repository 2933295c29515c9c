"""The three rivals: what they return, what decides them, and what they refuse."""

import dataclasses

import pytest
import torch

from course_lib import metrics, sentiment
from course_lib.data import load_reviews
from course_lib.sentiment import minilm
from course_lib.tokenization import split_words


@pytest.fixture(scope="module")
def reviews():
    return load_reviews("train", limit=120)


@pytest.fixture(scope="module")
def validation():
    return load_reviews("validation", limit=40)


TINY = sentiment.EncoderSettings(d_model=16, epochs=2, max_length=48)
SHORT = sentiment.MiniLMSettings(epochs=1, max_length=24, batch_size=8)


def texts(reviews):
    return [review.text for review in reviews]


class TestTfidf:
    def test_is_the_pipeline_of_scikit_learn_and_learns(self, reviews, validation):
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        trained = sentiment.train_tfidf(reviews)
        counts = TfidfVectorizer(ngram_range=(1, 2))
        model = LogisticRegression(C=10, max_iter=1000)
        model.fit(counts.fit_transform(texts(reviews)), [review.label for review in reviews])
        expected = model.predict_proba(counts.transform(texts(validation)))[:, 1]
        torch.testing.assert_close(
            trained.probabilities(texts(validation)).double(), torch.from_numpy(expected), atol=1e-6, rtol=0
        )
        assert trained.record is None
        assert trained.accuracy(reviews) > 0.95

    def test_one_label_is_refused(self, reviews):
        bad = [review for review in reviews if review.label == 0]
        for train in (sentiment.train_tfidf, sentiment.train_encoder, sentiment.train_minilm):
            with pytest.raises(ValueError, match=f"both labels; got {len(bad)} reviews of label 0"):
                train(bad)
            with pytest.raises(ValueError, match="got 0 reviews of label none"):
                train([])


class TestEncoder:
    def test_answers_in_the_order_of_the_texts(self, reviews, validation):
        trained = sentiment.train_encoder(reviews, seed=1, settings=TINY)
        together = trained.logits(texts(validation))
        alone = torch.cat([trained.logits([text]) for text in texts(validation)])
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
        assert trained.predictions(texts(validation)).equal(together.argmax(dim=-1))
        labels = torch.tensor([review.label for review in validation])
        assert trained.accuracy(validation) == metrics.accuracy(labels, together.argmax(dim=-1))

    def test_the_last_evaluation_is_that_of_the_model_returned(self, reviews, validation):
        trained = sentiment.train_encoder(reviews, validation, settings=TINY)
        measured = [value for value in trained.record["val_accuracy"] if value is not None]
        assert len(measured) == TINY.epochs
        assert measured[-1] == trained.accuracy(validation)

    def test_a_seed_decides_all_and_the_generator_stays(self, reviews, validation):
        before = torch.random.get_rng_state()
        first = sentiment.train_encoder(reviews, seed=3, settings=TINY)
        assert torch.random.get_rng_state().equal(before)
        torch.rand(7)
        again = sentiment.train_encoder(reviews, validation, seed=3, settings=TINY)
        other = sentiment.train_encoder(reviews, seed=4, settings=TINY)
        assert first.record["train_loss"][0] == again.record["train_loss"][0]
        assert first.logits(texts(validation)).equal(again.logits(texts(validation)))
        assert not first.logits(texts(validation)).equal(other.logits(texts(validation)))

    def test_settings_reach_the_run(self, reviews):
        trained = sentiment.train_encoder(reviews, settings=dataclasses.replace(TINY, n_layers=2, dropout=0.0))
        assert len(trained.model.blocks) == 2
        assert trained.model.dropout.p == 0.0
        assert trained.record.run["settings"]["n_layers"] == 2

    def test_the_vocabulary_comes_from_the_training_reviews_alone(self, reviews, validation):
        trained = sentiment.train_encoder(reviews[:10], validation, settings=TINY)
        words = {word for text in texts(reviews[:10]) for word in split_words(text)}
        assert trained.model.config.vocab_size == len(words) + 2


class TestMiniLM:
    def test_trains_and_leaves_the_frozen_vectors(self, reviews, validation):
        from course_lib import pretrained

        trained = sentiment.train_minilm(reviews[:32], validation[:8], settings=SHORT)
        untouched, _ = pretrained.load_encoder("minilm")
        table = trained.model.encoder.get_input_embeddings().weight
        assert table.equal(untouched.get_input_embeddings().weight)
        top = trained.model.encoder.encoder.layer[-1].output.dense.weight
        assert not top.equal(untouched.encoder.layer[-1].output.dense.weight)
        assert trained.logits(texts(validation)).shape == (len(validation), 2)
        assert not trained.model.training

    def test_rates_fall_layer_by_layer(self):
        from course_lib import pretrained

        model = minilm.PretrainedClassifier(pretrained.load_encoder("minilm")[0])
        settings = dataclasses.replace(SHORT, learning_rate=1.0, layer_decay=0.5, freeze_embeddings=False)
        groups = minilm._layer_groups(model, settings)
        rate = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
        names = dict(model.named_parameters())
        assert rate[id(names["encoder.encoder.layer.5.output.dense.weight"])] == 1.0
        assert rate[id(names["encoder.encoder.layer.0.output.dense.weight"])] == 0.5**5
        assert rate[id(names["encoder.embeddings.word_embeddings.weight"])] == 0.5**6
        assert rate[id(names["head.weight"])] == 10.0
        decayed = {id(parameter) for group in groups if group["weight_decay"] for parameter in group["params"]}
        assert id(names["head.bias"]) not in decayed
        assert id(names["encoder.encoder.layer.0.output.dense.weight"]) in decayed

    def test_the_mean_leaves_padding_out(self, validation):
        trained = sentiment.train_minilm(
            load_reviews("train", limit=16), settings=dataclasses.replace(SHORT, precision="fp32")
        )
        short = min(texts(validation), key=len)
        torch.testing.assert_close(
            trained.logits([short, max(texts(validation), key=len)])[0],
            trained.logits([short])[0],
            atol=1e-4,
            rtol=1e-4,
        )


@pytest.fixture(scope="module")
def model():
    from course_lib import pretrained

    torch.manual_seed(0)
    return minilm.PretrainedClassifier(pretrained.load_encoder("minilm")[0], dropout=0.0)


@pytest.fixture(scope="module")
def batch(reviews):
    from course_lib import pretrained
    from course_lib.data import Batch, pad

    tokenizer = pretrained.load_encoder("minilm")[1]
    ids, mask = pad([tokenizer(review.text)["input_ids"][:20] for review in reviews[:4]])
    return Batch(ids, mask, torch.tensor([minilm._both(review) for review in reviews[:4]]))


class TestFineTuningLoss:
    """Beside the model, the two things that are not every fine-tuning's: the push and the second answer."""

    @staticmethod
    def loss(batch, model, **settings):
        chosen = minilm.MiniLMSettings(**{"push": 0.0, "phenomena": 0.0, **settings})
        return minilm.FineTuningLoss(chosen)(model, batch)

    def test_with_nothing_switched_on_it_is_cross_entropy(self, model, batch):
        loss, logits = self.loss(batch, model)
        labels = batch.targets % 2
        torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
        assert logits.equal(model(batch.inputs, batch.mask))

    def test_the_second_answer_adds_its_loss(self, model, batch):
        plain, _ = self.loss(batch, model)
        both, _ = self.loss(batch, model, phenomena=0.3)
        scores = model.scores(model.word_vectors(batch.inputs), batch.mask)[:, 2:]
        second = torch.nn.functional.cross_entropy(scores, batch.targets // 2, reduction="sum")
        torch.testing.assert_close(both, plain + 0.3 * second)

    def test_the_push_goes_uphill_and_a_random_one_less(self, model, batch):
        plain, _ = self.loss(batch, model)
        pushed, _ = self.loss(batch, model, push=0.05)
        vectors = model.word_vectors(batch.inputs).detach()
        noise = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(0))
        noise *= 0.05 / noise.flatten(1).norm(dim=1)[:, None, None]
        random = torch.nn.functional.cross_entropy(
            model.scores(vectors + noise, batch.mask)[:, :2], batch.targets % 2, reduction="sum"
        )
        assert pushed > plain
        assert pushed - plain > 3 * (random - plain).abs()

    def test_a_review_without_a_phenomenon_is_refused_unless_nobody_asks(self, reviews):
        bare = [dataclasses.replace(review, phenomenon=None) for review in reviews[:16]]
        with pytest.raises(ValueError, match=rf"16 do not, the first is '{bare[0].id}': set phenomena=0"):
            sentiment.train_minilm(bare)
        trained = sentiment.train_minilm(bare, settings=dataclasses.replace(SHORT, phenomena=0.0))
        assert trained.logits(["Good."]).shape == (1, 2)
