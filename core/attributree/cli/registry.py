"""versions, promote: what was live when, and moving the live pointer."""

from __future__ import annotations

import click

from . import Globals, cli, pass_globals
from .output import print_json, print_table, say


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@pass_globals
def versions(options: Globals, as_json: bool) -> None:
    """List the tree versions, oldest first."""
    with options.workspace() as workspace:
        found = workspace.versions()
    if as_json:
        print_json(
            {
                "versions": [
                    {
                        "id": v.id,
                        "live": v.live,
                        "parent": v.parent,
                        "created_at": v.created_at.isoformat(),
                        "actor": v.actor,
                        "reason": v.reason,
                        "trunk": v.trunk.digest,
                        "branches": {name: branch.id for name, branch in v.branches.items()},
                        "unchanged": dict(v.proof),
                    }
                    for v in found
                ]
            }
        )
        return
    print_table(
        "tree versions",
        ("id", "live", "made", "by", "attributes", "reason"),
        [
            (v.id, "live" if v.live else "", f"{v.created_at:%Y-%m-%d %H:%M}", v.actor, ", ".join(v.branches), v.reason)
            for v in found
        ],
    )


@cli.command()
@click.argument("version", metavar="ID", type=int)
@click.option("--reason", default="promoted by hand", show_default=True, help="Why, for the record.")
@pass_globals
def promote(options: Globals, version: int, reason: str) -> None:
    """Make a stored tree version live, a former one too."""
    from ..sync.actor import actor

    with options.workspace() as workspace:
        workspace.catalog.promote(version, actor(), reason)
    if not options.quiet:
        say(f"tree version {version} is live")
