"""Answers of the live tree, for files and for the catalogue."""

from .features import Pictures, compute_features, decode_images
from .live import LiveTree
from .predict import Prediction, Predictor, Subject, branch_probabilities, decide

__all__ = [
    "LiveTree",
    "Pictures",
    "Prediction",
    "Predictor",
    "Subject",
    "branch_probabilities",
    "compute_features",
    "decide",
    "decode_images",
]
