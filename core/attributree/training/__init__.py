"""The training engine: arrays and schemas in, branches out. It knows no database and makes no plan."""

from .calibrate import Calibration
from .checkpoint import Checkpoints, Fit
from .data import Samples, pick_device
from .donors import Donor
from .executors import Executor, Inline, Torchrun, make_executor
from .finetune import Finetuned, Refined, finetune
from .fit import predict_logits
from .gate import Verdict, gate_new, gate_replaced, resampled_f1
from .grow import DEPTHS, Grown, finish, grow
from .guard import GuardedHead, GuardedLoss, HeadError
from .joint import JointFit, Teacher, logits_at, predict_joint, train_joint
from .loop import seed_everything
from .metrics import Scores, score
from .tops import ScratchTops, Tops
from .trunk import TrainedTrunk, one_for_all, reset, train_trunk

__all__ = [
    "DEPTHS",
    "Calibration",
    "Checkpoints",
    "Donor",
    "Executor",
    "Finetuned",
    "Fit",
    "Grown",
    "GuardedHead",
    "GuardedLoss",
    "HeadError",
    "Inline",
    "JointFit",
    "Refined",
    "Samples",
    "Scores",
    "ScratchTops",
    "Teacher",
    "Tops",
    "Torchrun",
    "TrainedTrunk",
    "Verdict",
    "finetune",
    "finish",
    "gate_new",
    "gate_replaced",
    "grow",
    "logits_at",
    "make_executor",
    "one_for_all",
    "pick_device",
    "predict_joint",
    "predict_logits",
    "resampled_f1",
    "reset",
    "score",
    "seed_everything",
    "train_joint",
    "train_trunk",
]
