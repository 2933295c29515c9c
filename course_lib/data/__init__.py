"""Data of the course: labeled reviews, running text, and batches of both (chapters 3, 4 and 18)."""

from course_lib.data.batching import Batch, BatchSource, ReviewBatches, pad
from course_lib.data.blocks import IGNORE_INDEX, TextBlocks
from course_lib.data.hub import DataError
from course_lib.data.leaks import Duplicate, Leak, find_duplicates, find_leaks
from course_lib.data.reviews import PHENOMENA, REGISTERS, Review, label_counts, load_reviews
from course_lib.data.subsets import draw_balanced, turn_labels
from course_lib.data.text import load_text, split_text

__all__ = [
    "IGNORE_INDEX",
    "PHENOMENA",
    "REGISTERS",
    "Batch",
    "BatchSource",
    "DataError",
    "Duplicate",
    "Leak",
    "Review",
    "ReviewBatches",
    "TextBlocks",
    "draw_balanced",
    "find_duplicates",
    "find_leaks",
    "label_counts",
    "load_reviews",
    "load_text",
    "pad",
    "split_text",
    "turn_labels",
]
