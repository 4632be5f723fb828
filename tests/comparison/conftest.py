"""Comparisons as they are reported, without training."""

from typing import Any

import numpy as np
import pytest

from attributree.comparison import ARMS
from attributree.comparison.report import Comparison, SeedResult


def arm(f1: float, parameters: int) -> dict[str, Any]:
    scores = {"n": 40, "accuracy": f1, "macro_f1": f1, "depth": "head"}
    return {
        "attributes": {"sleeve_length": scores, "tone": {**scores, "n": 0, "accuracy": None, "macro_f1": None}},
        "mean_macro_f1": f1,
        "train_seconds": 100 * f1,
        "parts": {"network": 100 * f1},
        "parameters": parameters,
        "predict_ms_per_image": 0.5,
    }


def result(seed: int, better: float) -> SeedResult:
    f1 = {name: 0.7 + better + 0.02 * i for i, name in enumerate(ARMS)}
    draws = {name: mean + np.linspace(-0.1, 0.1, 101) * (i + 1) for i, (name, mean) in enumerate(f1.items())}
    return SeedResult(seed, {name: arm(mean, 1_000_000) for name, mean in f1.items()}, draws)


@pytest.fixture
def comparison() -> Comparison:
    """Two seeds, all arms, two attributes; tone has no label in the test split."""
    parameters = {"seeds": [0, 1], "backbone": "resnet18", "labels": {"tone": {"test": 0}}}
    left_out = {"fit": "3 of 50 labels"}
    return Comparison(parameters, (result(0, 0.0), result(1, 0.1)), left_out, {}, ("seconds are wall clock",))
