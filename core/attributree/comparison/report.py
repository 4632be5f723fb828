"""What a comparison found, as data and as tables. Needs no network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..errors import ConfigError
from . import ARMS, FINETUNED, INDIVIDUAL, MULTILABEL, PROGRESSIVE

#: What each arm is, for people.
MEANING: Final = {
    INDIVIDUAL: "one whole network for each attribute, trained end to end on its labels alone",
    MULTILABEL: "one network with a head for each attribute, trained end to end on all labels",
    PROGRESSIVE: "one trunk, frozen, and a branch grown for each attribute in turn",
    FINETUNED: "the progressive tree, then trunk and branches trained together, gated on validation",
}
_DIGITS = 4


@dataclass(frozen=True, eq=False)
class SeedResult:
    """The arms of one seed, as JSON; `draws` holds each one's mean macro-F1 in equal resamples of the test images."""

    seed: int
    arms: dict[str, dict[str, Any]]
    draws: dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Comparison:
    """What a comparison found. `left_out` says of each attribute that was not compared why."""

    parameters: dict[str, Any]
    results: tuple[SeedResult, ...]
    left_out: dict[str, str]
    quarantined: dict[str, str]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as `compare --json` shows it; `arms` and `differences` are means over the seeds."""
        return {
            "parameters": self.parameters,
            **_merged(self.results),
            "seeds": [{"seed": result.seed, **_merged([result])} for result in self.results],
            "left_out": self.left_out,
            "quarantined": [{"image": image, "reason": reason} for image, reason in self.quarantined.items()],
            "notes": list(self.notes),
        }


def _merged(results: Sequence[SeedResult]) -> dict[str, Any]:
    return {
        "arms": {arm: average([result.arms[arm] for result in results]) for arm in results[0].arms},
        "differences": differences(results),
    }


def average(values: Sequence[Any]) -> Any:
    """Return the mean of the seeds' values: numbers averaged, None left aside, mappings key by key.

    What is no number stays if it is the same for all seeds, and is None otherwise.
    """
    if all(isinstance(value, dict) for value in values):
        keys = dict.fromkeys(key for value in values for key in value)
        return {key: average([value[key] for value in values if key in value]) for key in keys}
    if all(value == values[0] for value in values):
        return values[0]
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) + sum(value is None for value in values) < len(values):
        return None
    whole = all(isinstance(number, int) for number in numbers)
    return round(fmean(numbers)) if whole else round(fmean(numbers), _DIGITS)


def differences(results: Sequence[SeedResult]) -> dict[str, dict[str, float]]:
    """Return the difference of mean macro-F1 of every two arms that have one, with its 95 % interval.

    The interval is that of the test images: the same resamples for both arms and all seeds, means over the seeds.
    """
    arms = [arm for arm in ARMS if all(len(result.draws.get(arm, ())) for result in results)]
    out = {}
    for j, later in enumerate(arms):
        for earlier in arms[:j]:
            drawn = np.mean([result.draws[later] - result.draws[earlier] for result in results], axis=0)  # (rounds,)
            means = [result.arms[later]["mean_macro_f1"] - result.arms[earlier]["mean_macro_f1"] for result in results]
            low, high = np.quantile(drawn, (0.025, 0.975))
            out[f"{later} - {earlier}"] = {
                "mean": round(fmean(means), _DIGITS),
                "low": round(float(low), _DIGITS),
                "high": round(float(high), _DIGITS),
            }
    return out


def table(document: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows of the arms side by side: macro-F1 by attribute, its mean, then what each arm costs."""
    arms = document["arms"]
    names = list(next(iter(arms.values()))["attributes"])
    rows = [[name, *(_said(arm["attributes"][name]["macro_f1"]) for arm in arms.values())] for name in names]
    rows.append(["mean macro-F1", *(_said(arm["mean_macro_f1"]) for arm in arms.values())])
    rows.append(["parameters", *(f"{arm['parameters'] / 1e6:.2f} M" for arm in arms.values())])
    rows.append(["training", *(f"{arm['train_seconds']:.0f} s" for arm in arms.values())])
    rows.append(["predicting an image", *(_said(arm["predict_ms_per_image"], "{:.2f} ms") for arm in arms.values())])
    return ["macro-F1 on test", *arms], rows


def _said(value: float | None, form: str = "{:.3f}") -> str:
    return "-" if value is None else form.format(value)


def points(difference: dict[str, float]) -> str:
    """Return a difference in points of macro-F1, with its interval."""
    mean, low, high = (100 * difference[key] for key in ("mean", "low", "high"))
    return f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"


def told(parameters: dict[str, Any]) -> str:
    """Return the parameters of a comparison in one line; labels are left to the JSON document."""
    shown = {key: value for key, value in parameters.items() if key != "labels"}
    return ", ".join(
        f"{key.replace('_', ' ')} {' '.join(map(str, value)) if isinstance(value, list) else value}"
        for key, value in shown.items()
    )


def markdown(document: dict[str, Any]) -> str:
    """Return the comparison as a page: the table, what the arms are, differences, notes and parameters."""
    columns, rows = table(document)
    lines = [_line(columns), _line(["---", *["---:"] * (len(columns) - 1)]), *map(_line, rows), ""]
    lines += [f"- {arm}: {MEANING[arm]}" for arm in document["arms"]]
    if document["differences"]:
        lines += ["", "Differences of mean macro-F1 in points, with 95 % intervals over the test images:", ""]
        lines += [f"- {pair}: {points(difference)}" for pair, difference in document["differences"].items()]
    if document["notes"] or document["left_out"]:
        lines += ["", *(f"- {note}" for note in document["notes"])]
        lines += [f"- {name} is left out: {why}" for name, why in document["left_out"].items()]
    return "\n".join([*lines, "", told(document["parameters"]), ""])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def write(document: dict[str, Any], folder: Path) -> list[Path]:
    """Write compare.json and compare.md into `folder` and return their paths. Raises ConfigError if it cannot."""
    pages = {
        "compare.json": json.dumps(document, ensure_ascii=False, indent=2) + "\n",
        "compare.md": markdown(document),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in pages.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--out: {folder} cannot be written: {error.strerror or error}") from error
    return [folder / name for name in pages]
