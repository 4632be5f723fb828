"""compare: the catalogue's attributes learnt three ways, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..comparison import ARMS
from ..errors import ConfigError
from .group import Options, attributes_option, cli, json_option, pass_options
from .output import Reporter, emit, print_table, say


@cli.command()
@click.option("--arm", "arms", type=click.Choice(ARMS), multiple=True, help="Only this arm; repeatable.")
@click.option(
    "--seed",
    "seeds",
    metavar="N",
    type=click.IntRange(0, 2**32 - 1),
    multiple=True,
    help="Seed of the whole comparison, repeated for each that is given.  [default: training -> seed]",
)
@attributes_option
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also write compare.json, compare.md and the figure compare.png.",
)
@json_option
@pass_options
def compare(
    options: Options,
    arms: tuple[str, ...],
    seeds: tuple[int, ...],
    attributes: tuple[str, ...],
    out: Path | None,
    as_json: bool,
) -> None:
    """Compare individual networks, one multi-label network and the progressive tree.

    All are trained on this catalogue with the same splits, seeds and settings and scored on the test split: macro-F1,
    parameters, training seconds, milliseconds an image. Nothing of it goes live. A comparison that was broken off is
    taken up when the same is asked again.
    """
    if out:
        _writable(out)
    with options.workspace() as workspace, Reporter() as reporter:
        catalog = workspace.catalog  # before torch, so that a wrong database is refused at once
        from ..comparison.run import compare as run

        found = run(
            catalog, workspace.settings, workspace.declared,
            arms=arms, seeds=seeds, attributes=attributes, progress=reporter,
        )  # fmt: skip
    document = found.to_json()
    written = not out or _write(document, out)
    emit(document, as_json, _show)
    options.held_back(bool(document["left_out"] or document["quarantined"] or not written))


def _show(document: dict[str, Any]) -> None:
    from ..comparison.report import points, table, told

    (first, *arms), rows = table(document)
    seeds = document["parameters"]["seeds"]
    what = f"mean of seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else f"seed {seeds[0]}"
    print_table(f"comparison, {what}", (first, *(f"{arm} " for arm in arms)), rows)
    if document["differences"]:
        print_table(
            "difference of mean macro-F1, points",
            ("arms", "mean (95 % interval over test images) "),
            [(pair, points(difference)) for pair, difference in document["differences"].items()],
        )
    for note in document["notes"]:
        say(f"note: {note}")
    for name, why in document["left_out"].items():
        say(f"{name} is left out: {why}")
    for image in document["quarantined"]:
        say(f"quarantined {image['image']}: {image['reason']}")
    say(told(document["parameters"]))


def _writable(folder: Path) -> None:
    """Create `folder` before hours are spent on what would be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out: {folder} cannot be created: {error.strerror or error}") from error


def _write(document: dict[str, Any], folder: Path) -> bool:
    """Write the files of --out; return whether the figure is among them. Without matplotlib it is not, and said."""
    from ..comparison.plot import plot
    from ..comparison.report import write

    paths = write(document, folder)
    try:
        plot(document, folder / "compare.png")
        paths.append(folder / "compare.png")
    except ConfigError as error:
        say(f"warning: {error}", always=True)
    say(f"written: {', '.join(map(str, paths))}")
    return len(paths) == 3
