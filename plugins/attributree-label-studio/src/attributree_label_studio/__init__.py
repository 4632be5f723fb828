"""Label Studio for attributree: `attributree label-studio export / config / import`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attributree import hookimpl

if TYPE_CHECKING:
    import click


@hookimpl
def attributree_commands() -> list[click.Command]:
    """Return the group of commands."""
    from .commands import label_studio

    return [label_studio]
