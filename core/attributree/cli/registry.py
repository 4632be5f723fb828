"""versions, runs, changes, promote, rollback, gc: what was trained, live and declared when; moving the live pointer."""

from __future__ import annotations

import click

from ..jsonable import jsonable
from .group import Options, cli, json_option, pass_options
from .output import minute, print_json, print_table, say


@cli.command()
@json_option
@pass_options
def versions(options: Options, as_json: bool) -> None:
    """List the tree versions, oldest first.

    With --json each has its manifest: trunk, branches with their schemas, training sets and scores, and the code and
    plugins that made them.
    """
    with options.workspace() as workspace:
        found = workspace.registry.versions()
    if as_json:
        keys = ("id", "live", "parent", "created_at", "actor", "reason")
        told = [
            {
                **{key: getattr(v, key) for key in keys},
                "trunk": v.trunk.digest,
                "branches": {name: branch.id for name, branch in v.branches.items()},
                "unchanged": v.proof,
                "manifest": v.manifest(),
            }
            for v in found
        ]
        print_json({"versions": told})
        return
    print_table(
        "tree versions",
        ("id", "live", "made", "by", "attributes", "reason"),
        [
            (v.id, "live" if v.live else "", minute(v.created_at), v.actor, ", ".join(v.branches), v.reason)
            for v in found
        ],
    )


@cli.command()
@click.option("--attribute", metavar="ATTR", help="Runs of this attribute only.")
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(min=0), help="Newest runs to show; 0 for all."
)
@click.option("--cancel", metavar="ID", type=int, help="Cancel a running one first: its result will be refused.")
@json_option
@pass_options
def runs(options: Options, attribute: str | None, limit: int, cancel: int | None, as_json: bool) -> None:
    """List what was trained: why, by whom, for how long, and what came of it; the newest last."""
    from ..sync.actor import actor

    with options.workspace() as workspace:
        if cancel is not None:
            workspace.registry.cancel_run(cancel, actor())
        found = workspace.registry.runs(attribute)[-limit:]
    if as_json:
        print_json({"runs": found})
        return
    print_table(
        "training runs",
        ("id", "attribute", "action", "status", "started", "seconds", "branch", "by", "reason"),
        [
            (
                run.id, run.attribute, run.action, run.status, minute(run.started_at), run.seconds,
                run.branch_id, run.owner, run.error or run.reason,
            )
            for run in found
        ],
    )  # fmt: skip


@cli.command()
@click.option("--attribute", metavar="ATTR", help="Changes of this attribute only; a former name will do.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, with each schema.")
@pass_options
def changes(options: Options, attribute: str | None, as_json: bool) -> None:
    """List how schemas changed: what became of an attribute and its values, when, and by which plugin.

    The newest change comes last.
    """
    with options.workspace() as workspace:
        found = workspace.labels.changes(attribute)
    if as_json:
        print_json({"changes": found})
        return
    print_table(
        "schema changes",
        ("revision", "when", "attribute", "change", "what", "plugin", "by"),
        [
            (
                change.revision, minute(change.created_at), change.attribute, change.change, change.detail,
                f"{change.declared_by} {change.plugin_version or ''}".strip(), change.actor,
            )
            for change in found
        ],
    )  # fmt: skip


@cli.command()
@click.argument("version", metavar="ID", type=int)
@click.option("--reason", default="promoted by hand", show_default=True, help="Why, for the record.")
@pass_options
def promote(options: Options, version: int, reason: str) -> None:
    """Make a stored tree version live, a former one too.

    Every part of it is read first; if one is missing or damaged, what is live stays live.
    """
    with options.workspace() as workspace:
        catalog = workspace.catalog  # before torch, so that a wrong database is refused at once
        from ..sync.rollback import promote_version

        promote_version(catalog, workspace.settings, version, reason)
    say(f"tree version {version} is live")


@cli.command()
@click.option("--attribute", metavar="ATTR", help="Take back this attribute's branch only; the others stay.")
@click.option("--reason", default="rolled back by hand", show_default=True, help="Why, for the record.")
@pass_options
def rollback(options: Options, attribute: str | None, reason: str) -> None:
    """Go back to the tree version that the live one was made from, or to an attribute's former branch.

    Predictions are then exactly the former ones. What was taken out of service stays stored (`attributree versions`),
    and is not trained again before there are enough new labels, other settings, or `--retrain`.
    """
    with options.workspace() as workspace:
        catalog, settings = workspace.catalog, workspace.settings
        from ..sync.rollback import roll_back, roll_back_branch  # torch

        if attribute is None:
            version = roll_back(catalog, settings, reason)
        else:
            version = roll_back_branch(catalog, settings, workspace.declared, attribute, reason)
    branch = f": {attribute} has branch {version.branches[attribute].id} again" if attribute else ""
    say(f"tree version {version.id} is live{branch}")


@cli.command()
@click.option("--dry-run", is_flag=True, help="Count what would go, and delete nothing.")
@json_option
@pass_options
def gc(options: Options, dry_run: bool, as_json: bool) -> None:
    """Delete weights that no stored branch is made of, such as those of trainings that were killed or gated out."""
    with options.workspace() as workspace:
        garbage = workspace.gc(dry_run=dry_run)
    if as_json:
        print_json({**jsonable(garbage), "dry_run": dry_run})
    else:
        verb = "would be deleted" if dry_run else "deleted"
        say(
            f"{garbage.deleted} part{'' if garbage.deleted == 1 else 's'} {verb} ({garbage.bytes / 1e6:.1f} MB), "
            f"{garbage.kept} kept, {garbage.leftovers} leftovers of killed writers {'found' if dry_run else 'swept'}"
        )
