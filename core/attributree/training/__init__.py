"""The training engine: arrays and schemas in, branches out. It knows no database and makes no plan."""

from .data import Samples, pick_device
from .donors import Donor
from .fit import predict_logits
from .gate import Verdict, gate_new, gate_retrained
from .grow import DEPTHS, Grown, grow
from .metrics import Scores, score
from .trunk import TrainedTrunk, train_trunk

__all__ = [
    "DEPTHS",
    "Donor",
    "Grown",
    "Samples",
    "Scores",
    "TrainedTrunk",
    "Verdict",
    "gate_new",
    "gate_retrained",
    "grow",
    "pick_device",
    "predict_logits",
    "score",
    "train_trunk",
]
