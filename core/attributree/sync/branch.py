"""Training one branch of a sync: claimed, grown and gated. What fails becomes a result and leaves the others alone."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ..answers import Floats
from ..errors import AttributreeError, ConfigError, LeaseError, PluginError, TrainingError
from ..inference.predict import branch_probabilities
from ..label_set import LabelSet
from ..nn.trunk import PYRAMID
from ..registry.records import TrainingRun, TrunkRecord, Work
from ..reports import BUSY, FAILED, REJECTED, SKIPPED, Action, Result, progress_of
from ..settings.models import EXIT
from ..training.checkpoint import Checkpoints
from ..training.executors import Executor
from ..training.fit import predict_logits
from ..training.guard import HeadError
from ..training.progressive import GrowingTree, grow_branch
from .data import TrainingData, familiar, probe_of, usable
from .lease import Leases
from .promote import Live
from .records import TrainedBranch, describe

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Job:
    """What a sync trains with. `seen` are the runs that its plan knew to be finished."""

    data: TrainingData
    executor: Executor
    leases: Leases
    seen: frozenset[int]


@dataclass(frozen=True, eq=False)
class StoredTrunk:
    """A trunk in the artifact store, and the tree without branches that grows on it."""

    record: TrunkRecord
    tree: GrowingTree


@dataclass(frozen=True, eq=False)
class Claim:
    """An action that this worker alone does: on these labels, in this run, begun at that monotonic time."""

    action: Action
    labels: LabelSet
    run: TrainingRun
    begun: float


@dataclass(frozen=True, eq=False)
class GatedBranch:
    """A grown branch, and whether its gate let it pass. `probe` (P, S, S, 3) are pixels to prove its promotion on."""

    trained: TrainedBranch
    passed: bool
    checkpoints: Checkpoints
    probe: npt.NDArray[np.uint8]

    def reject(self, data: TrainingData, verdict: str | None = None) -> Result:
        """Close its run without storing its weights: its gate turned it down, or the whole tree's `verdict` did."""
        metrics = self.trained.metrics | ({"verdict": verdict} if verdict else {})
        data.catalog.registry.finish_run(self.trained.run, REJECTED, seconds=self.trained.seconds, metrics=metrics)
        self.checkpoints.forget()
        return self.trained.result(REJECTED, reason=metrics["verdict"])


def attempt(
    job: Job, action: Action, train: Callable[[Claim], tuple[Result, T]], *, hold: bool = False
) -> tuple[Result, T | None]:
    """Claim the work of `action` and return what `train` makes of it, or the result that says why nothing came of it.

    `hold` keeps the lease alive afterwards, for a branch that goes live later.
    """
    name, start, data = str(action.attribute), time.monotonic(), job.data
    labels = data.catalog.labels.label_set(name)
    digest, schema = data.recipes.digest(name), labels.attribute.digest
    work = Work(name, action.action, labels.fingerprint, schema, digest, labels.revision, action.reason)
    run = job.leases.claim(work, job.seen)
    if run is None:
        return Result(name, action.action, BUSY, "another sync trains it"), None
    retry = True
    try:
        return train(Claim(action, labels, run, start))
    except LeaseError as error:
        return Result(name, action.action, SKIPPED, str(error), seconds=time.monotonic() - start), None
    except (TrainingError, PluginError, ConfigError, HeadError) as error:
        reason, retry = str(error), False
    except AttributreeError as error:
        reason = str(error)
    except Exception as error:
        # A plugin's head runs in here; whatever it raises must not take the other attributes along.
        log.exception("training %s failed", name)
        reason = f"{type(error).__name__}: {error}"
    finally:
        if not hold:
            job.leases.drop(run)
    seconds = time.monotonic() - start
    with suppress(LeaseError):  # another worker has it by now, and its own result
        data.catalog.registry.finish_run(run, FAILED, seconds=seconds, metrics={"retry": retry}, error=reason)
    return Result(name, action.action, FAILED, reason, seconds=seconds), None


def grow_gated(job: Job, claim: Claim, tree: GrowingTree, live: Live | None) -> GatedBranch:
    """Grow a branch on `tree` and gate it: against its attribute's branch in the `live` tree, if that has one."""
    data, attribute, progress = job.data, claim.labels.attribute, job.data.progress
    name, setup = attribute.name, data.setup(attribute, tree.backbone)
    may_exit = tree.may_exit(name, setup.recipe)
    makers = {"": setup.head} | ({EXIT: setup.exit_head} if may_exit else {})
    heads = {depth: make.whose() for depth, make in makers.items()}
    made = [repr(make()) for make in makers.values()]  # a bad head is caught before any work
    pictures = data.decode(claim.labels.image_ids.tolist(), tree.backbone.transform)
    labels = usable(claim.labels, pictures)
    checkpoints = data.checkpoints(
        f"branch-{name}",
        fingerprint=labels.fingerprint,
        config=data.recipes.digest(name),
        trunk=tree.digest,
        donors=[donor.digests for donor in tree.donors],
        heads=[heads, made],
        executor=job.executor.name,
    )
    replaced = live if live and name in live.loaded.tree.branches else None
    reads = setup.reads() | {PYRAMID}
    samples = data.samples(labels, pictures, tree.backbone, tree.digest, reads, flip=setup.mirrors())
    grown, verdict = grow_branch(
        samples,
        tree.donors,
        setup,
        may_exit=may_exit,
        trunk=tree.trunk,
        live=(lambda: _live_answers(data, replaced, labels)) if replaced else None,
        features=data.donor_features(tree.backbone, tree.digest, pictures),
        executor=job.executor,
        checkpoints=checkpoints,
        progress=progress_of(name, progress),
    )
    log.info("%s: donor %s of %s, depth %s of %s", name, grown.donor, grown.probe, grown.depth, list(grown.depths))
    size = sum(tensor.nbytes for part in grown.branch.parts() for tensor in part.values())
    metrics = {
        **describe(grown),
        "labels": len(labels),
        "train_labels": len(labels.part("train")),
        "megabytes": round(size / 1e6, 2),
        "verdict": verdict.reason,
    }
    head, seconds = heads[EXIT if grown.depth == EXIT else ""], time.monotonic() - claim.begun
    familiarity = familiar(tree.backbone, samples[PYRAMID], setup.recipe)
    trained = TrainedBranch(claim.run, labels, grown.branch, head, grown.calibration, familiarity, metrics, seconds)
    return GatedBranch(trained, verdict.promoted, checkpoints, probe_of(labels.image_ids.tolist(), pictures))


def _live_answers(data: TrainingData, live: Live, labels: LabelSet) -> Floats:
    """Return what the live tree says of the unambiguous validation images, through its own trunk and image size."""
    name, loaded, val = labels.attribute.name, live.loaded, labels.part("val", labelled_only=True)
    pictures = data.decode(val.image_ids.tolist(), loaded.backbone.transform)
    branch = loaded.tree.to(data.device).branch(name)
    samples = data.samples(val, pictures, loaded.backbone, loaded.trunk.digest, (branch.reads,), flip=False)
    logits = predict_logits(branch, samples[branch.reads], data.device)
    return branch_probabilities(loaded.branches[name], data.catalog.labels.attributes()[name].today, logits)
