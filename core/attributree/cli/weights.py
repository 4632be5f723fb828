"""weights: the pretrained trunks that can be had here, and whether a file holds one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from .group import Options, cli, json_option, pass_options
from .output import emit, print_table, say


@cli.group()
def weights() -> None:
    """List and verify the weights that trunks can be made of."""


@weights.command("list")
@click.option("--backbone", metavar="PATTERN", help="The hub's for these backbones, such as 'convnext*'.")
@json_option
@pass_options
def list_(options: Options, backbone: str | None, as_json: bool) -> None:
    """Say which trunks can be had here, with licence, size and what they were trained on.

    Those of installed plugins, files and folders beside the configuration, and timm's hub for the configured backbone.
    Nothing is downloaded. `here` is yes where no network is needed. HF_ENDPOINT names another hub, HF_HUB_OFFLINE=1
    keeps timm to what was downloaded before.
    """
    from ..nn.inventory import list_weights  # torch
    from ..plugins import load_plugins

    settings = options.settings()
    found = list_weights(settings, load_plugins(settings.plugins), backbone)
    emit(found, as_json, _show)


def _show(found: dict[str, Any]) -> None:
    for problem in found["problems"]:
        say(f"warning: {problem}")
    columns = ("weights", "backbone", "source", "here", "MB ", "licence", "trained on")
    rows = [
        (
            *(row["weights"], row["backbone"], row["source"], "yes" if row["here"] else "no"),
            None if row["bytes"] is None else f"{row['bytes'] / 1e6:.0f}",
            *(row["licence"], row["trained_on"]),
        )
        for row in found["weights"]
    ]
    print_table("weights for [trunk]", columns, rows)
    offline = ", offline: only what is here" if found["offline"] else ""
    say(f"the hub is {found['endpoint']}{offline}. `weights list --backbone PATTERN` shows it for other backbones")


@weights.command()
@click.argument("file")
@click.option("--backbone", metavar="NAME", help="The backbone that they must fit.  [what they say, or the configured]")
@json_option
@pass_options
def verify(options: Options, file: str, backbone: str | None, as_json: bool) -> None:
    """Check weights: a safetensors FILE, local-dir:FOLDER, or the name of weights that a plugin offers.

    They are read in full and put into the backbone. Exits 1 with the reason if they cannot be, if the file is not the
    one that its plugin was made for, or if a number in it is none.
    """
    from ..nn.inventory import verify_weights  # torch
    from ..plugins import load_plugins
    from ..settings.models import weights_place

    settings = options.settings()
    prefix, place = weights_place(file) or ("", "")
    if place or Path(file).exists():
        file = prefix + os.path.abspath(place or file)  # noqa: PTH100  # links keep their name
    found = verify_weights(file, settings, load_plugins(settings.plugins), backbone)
    if as_json or found.problem is None:
        emit(found, as_json, _show_verified)
    if found.problem is not None:
        say(f"error: {found.problem}", always=True)
        raise click.exceptions.Exit(1)


def _show_verified(found: dict[str, Any]) -> None:
    print_table("weights", ("what", "is"), [(key, value) for key, value in found.items() if value is not None])
