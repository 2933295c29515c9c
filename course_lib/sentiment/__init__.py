"""Three classifiers of reviews behind one call: words counted, an encoder from scratch, MiniLM fine-tuned.

They are the course's rivals: chapters 2, 3, 4, 10 and 11 train them on the same reviews and compare what comes out.
Each `train_...` takes reviews and gives back a `Trained`, which turns texts into logits. How the two networks are
trained is in their settings, whose defaults were chosen on validation (EXPERIMENTS.md). `attention` measures where a
trained encoder looks.
"""

from course_lib.sentiment.encoder import EncoderSettings, train_encoder
from course_lib.sentiment.minilm import MiniLMSettings, train_minilm
from course_lib.sentiment.tfidf import train_tfidf
from course_lib.sentiment.trained import Trained

__all__ = ["EncoderSettings", "MiniLMSettings", "Trained", "train_encoder", "train_minilm", "train_tfidf"]
