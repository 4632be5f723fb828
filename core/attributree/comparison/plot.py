"""A comparison as a figure: macro-F1 of each attribute by arm, and what each arm costs. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import ConfigError
from . import FINETUNED, INDIVIDUAL, MULTILABEL, PROGRESSIVE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Okabe and Ito's colours, which colour-blind readers can tell apart.
COLOURS: Final = {INDIVIDUAL: "#999999", MULTILABEL: "#0072B2", PROGRESSIVE: "#E69F00", FINETUNED: "#D55E00"}
NAMES: Final = {
    INDIVIDUAL: "individual networks",
    MULTILABEL: "one multi-label network",
    PROGRESSIVE: "progressive tree",
    FINETUNED: "progressive, finetuned",
}
_INK, _PALE = "#333333", "#dddddd"


def plot(document: Mapping[str, Any], path: Path) -> None:
    """Write the figure as a PNG. Raises ConfigError if matplotlib is not installed or `path` cannot be written."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(
            "no figure was drawn: the package matplotlib is not installed; run: pip install 'attributree[plot]'"
        ) from error
    arms: Mapping[str, Any] = document["arms"]
    names = list(next(iter(arms.values()))["attributes"])
    with rc_context(
        {"font.size": 10, "text.color": _INK, "axes.labelcolor": _INK, "xtick.color": _INK, "ytick.color": _INK}
    ):
        height = 1.5 + 0.42 * max(len(names) + 1, 2 * len(arms))
        figure = Figure(figsize=(11, height), layout="constrained")
        grid = figure.add_gridspec(2, 2, width_ratios=(1.7, 1))
        _dots(figure.add_subplot(grid[:, 0]), document, names)
        millions = [arm["parameters"] / 1e6 for arm in arms.values()]
        _bars(figure.add_subplot(grid[0, 1]), list(arms), "parameters, millions", millions)
        seconds = [arm["train_seconds"] for arm in arms.values()]
        _bars(figure.add_subplot(grid[1, 1]), list(arms), "training, seconds", seconds)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=len(arms), frameon=False, handletextpad=0.2)
        try:
            figure.savefig(path, dpi=160, facecolor="white")
        except OSError as error:
            raise ConfigError(f"--out: {path} cannot be written: {error.strerror or error}") from error


def _dots(axes: Axes, document: Mapping[str, Any], names: Sequence[str]) -> None:
    """Draw one line an attribute with a dot an arm, the mean last; seeds as small dots if there are several."""
    arms, seeds = document["arms"], document["seeds"] if len(document["seeds"]) > 1 else []
    rows = [*names, "mean"]
    for y, name in enumerate(rows):
        there = [f1 for f1 in (_f1(arm, name) for arm in arms.values()) if f1 is not None]
        if there:
            axes.plot([min(there), max(there)], [y, y], color=_PALE, linewidth=2, zorder=1)
    for i, arm in enumerate(arms):
        shift = 0.15 * (i - (len(arms) - 1) / 2)  # dots of equal value would hide each other
        for found, size, alpha in [(arms, 48, 1.0), *((seed["arms"], 9, 0.5) for seed in seeds)]:
            points = [(f1, y + shift) for y, name in enumerate(rows) if (f1 := _f1(found[arm], name)) is not None]
            axes.scatter(
                [x for x, _ in points],
                [y for _, y in points],
                s=size,
                alpha=alpha,
                color=COLOURS[arm],
                linewidths=0,
                zorder=3,
                label=NAMES[arm] if found is arms else None,
            )
    axes.axhline(len(names) - 0.5, color=_PALE, linewidth=0.8)
    axes.set_yticks(range(len(rows)), [name.replace("_", " ") for name in rows])
    axes.get_yticklabels()[-1].set_fontweight("bold")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    mean_of = f", mean of {len(seeds)} seeds (small: each)" if seeds else ""
    axes.set_xlabel(f"macro-F1 on the test split{mean_of}")
    axes.grid(axis="x", color=_PALE, linewidth=0.6)
    _plain(axes)


def _f1(arm: Mapping[str, Any], name: str) -> float | None:
    f1: float | None = arm["mean_macro_f1"] if name == "mean" else arm["attributes"][name]["macro_f1"]
    return f1


def _bars(axes: Axes, arms: Sequence[str], title: str, values: Sequence[float]) -> None:
    """Draw one bar an arm, with its number behind it."""
    bars = axes.barh(range(len(arms)), values, height=0.6, color=[COLOURS[arm] for arm in arms])
    axes.bar_label(bars, [f"{value:.0f}" if value >= 100 else f"{value:.3g}" for value in values], padding=3)
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.set_xlim(0, max(values) * 1.18 or 1)
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_yticks([])
    axes.set_xticks([])
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
