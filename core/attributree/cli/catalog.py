"""init, ingest, status, relocate and db: the catalogue's commands."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from .group import Options, cli, json_option, pass_options
from .output import Reporter, emit, print_table, say


@cli.command()
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path, file_okay=False))
@pass_options
def init(options: Options, folder: Path) -> None:
    """Write plugins.toml and create the catalogue.

    What is there already is kept; a catalogue of an older schema is upgraded.
    """
    from ..database.engine import shown
    from ..settings.file import FILE_NAME
    from ..workspace import Workspace

    there = (folder / FILE_NAME).exists()
    with Workspace.create(folder, database=options.database) as workspace:
        say(f"{'kept' if there else 'wrote'} {folder / FILE_NAME}")
        say(f"catalogue {shown(workspace.catalog.url)} is up to date")
        say("next: attributree ingest FILE --images ROOT")


@cli.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--images", metavar="ROOT", type=click.Path(path_type=Path), help="Folder of the images.  [FILE's own]")
@click.option("--source", metavar="NAME", default="import", show_default=True, help="Who says what the files say.")
@json_option
@pass_options
def ingest(options: Options, files: tuple[Path, ...], images: Path | None, source: str, as_json: bool) -> None:
    """Store label files, one row an image or a product: CSV, JSONL, Parquet, or what a plugin reads.

    A row without an image speaks of its SKU, and so of all pictures of that product.

    Each file is stored whole or not at all, every cell as it stands, whether or not a plugin reads its column yet.
    """
    summaries = []
    with options.workspace() as workspace, Reporter() as reporter:
        for file in files:
            tell = partial(reporter.count, f"{file.name}, rows")
            summaries.append(workspace.ingest(file, images=images, source=source, progress=tell))
    emit({"files": summaries}, as_json, _show_summaries)
    options.held_back(any(summary.quarantined for summary in summaries))


def _show_summaries(document: dict[str, Any]) -> None:
    for summary in document["files"]:
        say(
            f"{summary['file']}: {summary['rows']} rows, {summary['images_new']} new images of "
            f"{summary['products_new']} new products; {summary['observations_new']} new observations, "
            f"{summary['observations_same']} known already (source {summary['source']}, revision {summary['revision']})"
        )
        if count := summary["without_pictures"]:
            have = "product has" if count == 1 else "products have"
            say(f"  {count} {have} no picture yet; what is said of such products is kept for their pictures")
        for column, count in summary["undeclared"].items():
            say(f"  column {column}: {count} cells kept; no plugin declares it yet")
        for unknown in summary["unknown_values"]:
            _show_unknown(f"  {unknown['attribute']}", unknown, "cells kept")
        if summary["remote_new"]:
            say(
                f"  {summary['remote_new']} new images are behind URLs and were not looked at yet: sync-catalog "
                "fetches what it learns from, `attributree fetch` all"
            )
        _show_quarantined(summary["quarantined"])


def _show_unknown(where: str, unknown: dict[str, Any], cells: str) -> None:
    near = f"; the nearest is {unknown['nearest']}" if unknown["nearest"] else ""
    say(f"{where}: {unknown['text']!r} is no known value ({unknown['count']} {cells}){near}")


def _show_quarantined(images: list[dict[str, Any]], most: int = 10) -> None:
    if images:
        say(f"  {len(images)} image{'s are' if len(images) > 1 else ' is'} quarantined; labels are kept for its repair")
    _show_list(images, most)


def _show_list(images: list[dict[str, Any]], most: int = 10) -> None:
    for image in images[:most]:
        say(f"    {image['image']}: {image['reason']}")
    if len(images) > most:
        say(f"    and {len(images) - most} more; --json has them all")


@cli.command()
@click.option("--recheck", is_flag=True, help="Also ask whether images that were fetched have changed.")
@json_option
@pass_options
def fetch(options: Options, recheck: bool, as_json: bool) -> None:
    """Fetch the images behind URLs that were not fetched yet.

    Those in quarantine are tried again. sync-catalog and predict fetch what they need by themselves; this is for doing
    it ahead, before going offline, or once more.
    """
    with options.workspace() as workspace, Reporter() as reporter:
        report = workspace.fetch(recheck=recheck, progress=reporter)
    emit(report, as_json, _show_fetched)
    options.held_back(bool(report.quarantined or report.away))


def _show_fetched(document: dict[str, Any]) -> None:
    changed = f" ({document['changed']} had changed)" if document["changed"] else ""
    say(
        f"{document['images']} images behind URLs: {document['fetched']} fetched{changed}, "
        f"{document['here']} were here, {len(document['quarantined'])} quarantined, "
        f"{len(document['away'])} out of reach"
    )
    _show_quarantined(document["quarantined"])
    _show_list(document["away"])


@cli.command()
@json_option
@pass_options
def status(options: Options, as_json: bool) -> None:
    """Show coverage, live branches and the plan.

    Scores are those of the held-out test split when the branch went live.
    """
    with options.workspace() as workspace:
        document = workspace.status()
    emit(document, as_json, _show_status)
    blocked = any(action["action"] == "blocked" for action in document["plan"])
    options.held_back(blocked or bool(document["quarantined"]))


@cli.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@json_option
@pass_options
def relocate(options: Options, old: Path, new: Path, as_json: bool) -> None:
    """Let an images root lie elsewhere: its folder was moved from OLD to NEW.

    The images keep what was said and predicted of them. A root below the folder of plugins.toml needs no command when
    all of that folder is moved.
    """
    with options.workspace() as workspace:
        moved = workspace.relocate(old, new)
    emit(moved, as_json, _show_relocated)


def _show_relocated(moved: dict[str, Any]) -> None:
    say(f"{moved['folder']}: {moved['found']} of {moved['images']} images are there; they were in {moved['was']}")


def _show_status(document: dict[str, Any]) -> None:
    live = f"tree version {document['version']} is live" if document["version"] else "nothing is live yet"
    counts = ("labelled", "ambiguous", "not_applicable", "unknown")
    keys = ("declared_by", *counts, "branch", "state", "accuracy", "macro_f1")
    headings = {"declared_by": "declared by", "not_applicable": "n/a", "macro_f1": "macro-F1"}
    print_table(
        f"{document['images']} images of {document['products']} products; {live}",
        ("attribute", *(headings.get(key, key) for key in keys)),
        [(name, *(entry[key] for key in keys)) for name, entry in document["attributes"].items()],
    )
    for name, entry in document["attributes"].items():
        for unknown in entry["unreadable"]:
            _show_unknown(name, unknown, "cells")
    for column, count in document["undeclared"].items():
        say(f"column {column}: {count} cells, no plugin declares it")
    remote = document["remote"]
    if remote["images"]:
        say(f"{remote['fetched']} of {remote['images']} images behind URLs were fetched")
    _show_quarantined(document["quarantined"])
    for note in document["notes"]:
        say(f"note: {note}")
    if document["plan"]:
        show_plan(document["plan"])
    else:
        say("sync-catalog has nothing to do")


def show_plan(actions: list[dict[str, Any]]) -> None:
    """Write a plan as people read it; a reason that several actions of a kind have is said with the first."""
    rows, first = [], dict[tuple[str, str], str]()
    for a in actions:
        named = str(a["attribute"])
        other = first.setdefault((a["action"], a["reason"]), named)
        minutes = (a.get("forecast") or {}).get("minutes")
        rows.append(
            (a["action"], a["attribute"], a["labelled"], minutes, a["reason"] if other == named else f"as for {other}")
        )
    print_table("plan", ("action", "attribute", "labelled", "minutes", "reason"), rows)


@cli.group()
def db() -> None:
    """Look after the catalogue's schema."""


def _url(options: Options) -> str:
    return options.settings(required=options.database is None).catalog.database


@db.command()
@pass_options
def upgrade(options: Options) -> None:
    """Create the catalogue, or bring it to the schema of this attributree."""
    from ..workspace import Workspace

    with Workspace(options.settings(required=options.database is None)) as workspace:
        revision = workspace.upgrade()
    say(f"the catalogue is at revision {revision}")


@db.command()
@pass_options
def current(options: Options) -> None:
    """Print the schema revision of the catalogue."""
    from ..database.migrate import current as run

    click.echo(run(_url(options)) or "none")


@db.command()
@pass_options
def check(options: Options) -> None:
    """Exit 0 if the catalogue has the schema of this attributree, 1 with the command to type if not."""
    from ..database.migrate import check as run

    run(_url(options))
    say("the catalogue is up to date")
