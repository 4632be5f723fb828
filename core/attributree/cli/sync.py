"""sync-catalog: bring the live tree in line with plugins and labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from ..jsonable import jsonable
from ..reports import PROMOTED, REJECTED, Plan, Result, SyncReport
from .catalog import show_plan
from .group import Options, cli, json_option, pass_options
from .output import Reporter, emit, print_table, say


def executor_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say where training runs."""
    command = click.option(
        "--processes", type=click.IntRange(min=0), default=0, help="For torchrun; 0: one a GPU, or two on the CPU."
    )(command)
    return click.option(
        "--executor",
        type=click.Choice(["inline", "torchrun"]),
        default="inline",
        show_default=True,
        help="Where training runs: in this process, or in several that share each batch.",
    )(command)


@cli.command("sync-catalog")
@click.option("--dry-run", is_flag=True, help="Print the plan and change nothing.")
@click.option("--only", metavar="ATTR", multiple=True, help="Look at this attribute only; repeatable.")
@click.option("--retrain", metavar="ATTR", multiple=True, help="Train this attribute even without a need; repeatable.")
@click.option("--no-train", is_flag=True, help="Register and evolve schemas, train nothing.")
@executor_options
@json_option
@pass_options
def sync_catalog(
    options: Options,
    dry_run: bool,
    only: tuple[str, ...],
    retrain: tuple[str, ...],
    no_train: bool,
    executor: str,
    processes: int,
    as_json: bool,
) -> None:
    """Bring the live tree in line with plugins and labels.

    Registers what plugins declare, grows and retrains branches, proves that the others did not move, and makes the
    new tree live. Running it twice does nothing the second time.
    """
    talk = not as_json and not options.quiet
    told = Told()

    def announce(plan: Plan) -> None:
        if talk and plan.actions:
            show_plan(jsonable(plan.actions))

    with options.workspace() as workspace, Reporter() as reporter:
        if dry_run:
            plan = workspace.plan(only=only, retrain=retrain)
            announce(plan)
            workspace.check_plan(plan)
            report = SyncReport(plan, dry_run=True)
        else:
            report = workspace.sync(
                only=only,
                retrain=retrain,
                train=not no_train,
                executor=executor,
                processes=processes,
                announce=announce,
                progress=reporter,
                done=lambda result: reporter.line(told.line(result)) if talk else None,
            )
    if as_json or talk:
        emit(report, as_json, _show_report)
    if report.failed:
        for result in report.failed if not talk else ():
            say(f"error: {told.line(result)}", always=True)
        raise click.exceptions.Exit(1)
    options.held_back(report.held_back or bool(report.dry_run and report.plan.blocked))


@cli.command()
@executor_options
@json_option
@pass_options
def finetune(options: Options, executor: str, processes: int, as_json: bool) -> None:
    """Train the live tree's trunk and branches together on all labels.

    Each attribute is gated on validation: if one loses more than `[training] max_loss` points of macro-F1, the new tree
    is stored but the live one goes on; `attributree promote ID` takes it all the same.
    """
    with options.workspace() as workspace, Reporter() as reporter:
        catalog = workspace.catalog  # before torch, so that a wrong database is refused at once
        from ..sync.finetune import finetune_catalog
        from ..training.executors import make_executor

        run = make_executor(executor, processes)
        report = finetune_catalog(catalog, workspace.settings, workspace.declared, progress=reporter, executor=run)
    if as_json or not options.quiet:
        emit(report, as_json, _show_report)
    options.held_back(report.held_back)


class Told:
    """One line about each result, as it comes. A reason that several have is said with the first."""

    def __init__(self) -> None:
        self._reasons: dict[tuple[str, str], str] = {}

    def line(self, result: Result) -> str:
        """Return the line."""
        head = f"{result.attribute}: {result.status}"
        if result.status == PROMOTED:
            return f"{head} as branch {result.branch} after {result.seconds:.0f} s; {result.reason}"
        return f"{head} ({self.reason(result.attribute, result.status, result.reason)})"

    def reason(self, attribute: str, status: str, reason: str) -> str:
        """Return the reason of an attribute, or of which other one it is the reason too."""
        first = self._reasons.setdefault((status, reason), attribute)
        return reason if first == attribute else f"as for {first}"


def _show_report(report: dict[str, Any]) -> None:
    for note in report["notes"]:
        say(f"note: {note}")
    if not report["plan"] and not report["results"]:
        say("nothing to do: every declared attribute is live and up to date")
        return
    if report["dry_run"]:
        say("dry run: nothing was changed")
        return
    trunk = report["trunk"]
    if trunk:
        trained = trunk["trained"]
        how = f", trained in {trained['epochs']} epochs and {trained['seconds']:.0f} s" if trained else ""
        origin = trunk["origin"]
        which = f" ({origin})" if origin and origin != trunk["weights"] else ""
        say(f"trunk {trunk['digest'][:12]}, weights {trunk['weights']}{which}{how}")
    rows = [row for row in report["results"] if row["status"] in (PROMOTED, REJECTED)]
    if rows:
        print_table("held-out results", ("attribute", "status", *_SCORES, "depth", "donor", "seconds"), map(_row, rows))
    told = Told()
    for row in rows:
        left_out = [f"{depth} {why}" for depth, why in row["metrics"].get("left_out", {}).items()]
        if left_out:
            say(f"{row['attribute']}: left out: {'; '.join(left_out)}")
        unchanged = row["unchanged"]
        if row["status"] == REJECTED:
            say(f"{row['attribute']}: {REJECTED}, not live: {told.reason(row['attribute'], REJECTED, row['reason'])}")
        elif unchanged["attributes"]:
            say(
                f"{row['attribute']}: {', '.join(unchanged['attributes'])} unchanged, "
                f"max_abs_diff {unchanged['max_abs_diff']} on {unchanged['images']} probe images"
            )
    for image in report["quarantined"]:
        say(f"quarantined {image['image']}: {image['reason']}")
    if report["version"]:
        say(f"tree version {report['version']} is live")


_SCORES = ("split", "n", "accuracy", "macro-F1", "accepted", "right of accepted")


def _row(result: dict[str, Any]) -> tuple[Any, ...]:
    """Return a result's table row, with its scores on the test split, or on validation if that has no labels."""
    metrics = result["metrics"]
    split = "test" if "test" in metrics else "val"
    scores = metrics[split]
    numbers = (scores["n"], scores["accuracy"], scores["macro_f1"], scores["coverage"], scores["accepted_accuracy"])
    return (
        result["attribute"], result["status"], split, *numbers, metrics["depth"], metrics["donor"], result["seconds"]
    )  # fmt: skip
