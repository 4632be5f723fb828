"""The paper's last stage on the live tree: trunk and branches together, gated attribute by attribute."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..answers import Floats
from ..catalog import Catalog
from ..errors import CatalogError, TrainingError
from ..inference.features import Pictures
from ..inference.predict import branch_probabilities
from ..label_set import LabelSet
from ..nn.tree import JointModel
from ..nn.trunk import PYRAMID
from ..plugins import LoadedPlugins
from ..registry.records import BranchRecord, TrainingRun, Work
from ..registry.trees import LoadedTree, head_factory, save_trunk
from ..reports import PROMOTED, REJECTED, Plan, Progress, SyncReport, TrunkReport
from ..settings.models import EXIT, NETWORK, Settings
from ..settings.recipes import outcome_settings
from ..training.data import Samples
from ..training.executors import Executor, Inline
from ..training.finetune import Finetuned, Refined, finetune
from ..training.guard import HeadError
from ..training.joint import predict_joint, teach
from .data import TrainingData, familiar, probe_of
from .lease import Leases
from .promote import Live, commit, load_live
from .records import TrainedBranch, describe, describe_scores

ACTION, REASON = "finetune", "asked for by `attributree finetune`"


def finetune_catalog(
    catalog: Catalog,
    settings: Settings,
    plugins: LoadedPlugins,
    *,
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> SyncReport:
    """Finetune the live tree end to end on all labels, and promote it if at least half of the attributes passed.

    One that is gated out, even after it was grown once more on the finetuned trunk, keeps its former path: the former
    trunk becomes its own. If more are gated out, the whole tree is stored and not promoted; `promote` makes it live all
    the same. Raises CatalogError if nothing is live, a plugin is missing, or an attribute's values or kind changed
    since its branch was trained.
    """
    with catalog.sync_lock(), Leases(catalog) as leases:
        data = TrainingData(catalog, settings, plugins, progress)
        data.store.sweep()
        live = load_live(data)
        if live is None:
            raise CatalogError("no tree is live yet; run: attributree sync-catalog")
        label_sets = {name: _label_set(data, live.loaded, name) for name in sorted(live.branches)}
        return _finetune(data, live, label_sets, _claim(data, label_sets, leases), executor or Inline())


def _claim(data: TrainingData, label_sets: Mapping[str, LabelSet], leases: Leases) -> dict[str, TrainingRun]:
    """Return a run for each attribute. Raises CatalogError if one of them is being trained by another worker."""
    data.catalog.registry.require_idle()
    runs = {}
    for name, labels in label_sets.items():
        digest = data.recipes.digest(name)
        work = Work(name, ACTION, labels.fingerprint, labels.attribute.digest, digest, labels.revision, REASON)
        run = leases.claim(work)
        if run is None:
            raise CatalogError(f"{name} is being trained by another worker; try again when it is done")
        runs[name] = run
    return runs


def _label_set(data: TrainingData, loaded: LoadedTree, name: str) -> LabelSet:
    """Return an attribute's labels. Raises CatalogError if its live branch does not answer in today's values."""
    if name in loaded.missing:
        raise CatalogError(f"{name} cannot be finetuned: {loaded.missing[name]}")
    label_set = data.catalog.labels.label_set(name)
    labels, branch = label_set.attribute.labels, loaded.branches[name]
    if (labels.keys, labels.kind) != (branch.values, branch.kind):
        what = "kind" if labels.keys == branch.values else "values"
        raise CatalogError(
            f"{name}: its {what} changed since its branch was trained; run first: "
            f"attributree sync-catalog --retrain {name}"
        )
    return label_set


def _finetune(
    data: TrainingData,
    live: Live,
    label_sets: Mapping[str, LabelSet],
    runs: Mapping[str, TrainingRun],
    executor: Executor,
) -> SyncReport:
    start, loaded, names = time.monotonic(), live.loaded, sorted(label_sets)
    recipe, labels = data.recipes.together(names), data.catalog.labels
    unknown = {name: labels.missing(name) for name in names}
    ids = np.unique(np.concatenate([*(s.image_ids for s in label_sets.values()), *map(np.asarray, unknown.values())]))
    pictures = data.decode(ids.astype(np.int64).tolist(), loaded.backbone.transform)
    samples = {name: data.pixels(part, pictures) for name, part in label_sets.items()}
    taught = {}
    for name, more in unknown.items():
        train = [i.id for i in labels.images(ids=more) if i.split == "train" and i.id in pictures.digests]
        taught[name] = sorted({*samples[name].labels.part("train").image_ids.tolist(), *train})
    setups = {}
    for name, part in label_sets.items():
        head = head_factory(live.branches[name], part.attribute, loaded.backbone, data.plugins)
        setups[name] = replace(data.setup(part.attribute, loaded.backbone), head=head, exit_head=head)
    checkpoints = data.checkpoints(
        ACTION,
        trunk=loaded.trunk.digest,
        branches={name: branch.parts for name, branch in live.branches.items()},
        labels={name: part.labels.fingerprint for name, part in samples.items()},
        unknown={name: len(taught[name]) for name in names},
        recipe=outcome_settings(recipe),
        losses={name: setup.recipe.loss for name, setup in setups.items()},
        executor=executor.name,
    )
    rows = {name: pictures.rows(pictures.pixels, mine) for name, mine in taught.items()}
    try:
        tuned = executor.run(
            finetune,
            JointModel(*copy.deepcopy((loaded.tree.trunk, loaded.tree.keyed_branches()))).requires_grad_(True),
            samples,
            _answers(data, loaded, samples),
            teach(loaded.tree, pictures.pixels.records(), rows, data.device),
            setups,
            recipe,
            checkpoints=checkpoints,
            progress=data.progress,
        )
    except HeadError as error:
        raise TrainingError(f"{error.attribute} cannot be finetuned: {error}; nothing was promoted") from error
    report = _conclude(data, live, samples, runs, tuned, time.monotonic() - start, pictures)
    checkpoints.forget()
    return report


def _answers(data: TrainingData, loaded: LoadedTree, samples: Mapping[str, Samples]) -> dict[str, Floats]:
    """Return the live branches' probabilities (N, C) of the unambiguous validation samples."""
    val = {name: part.part("val", labelled_only=True) for name, part in samples.items()}
    logits = predict_joint(loaded.tree.to(data.device), val, data.device)
    return {
        name: branch_probabilities(loaded.branches[name], part.labels.attribute, logits[name])
        for name, part in val.items()
    }


def _conclude(
    data: TrainingData,
    live: Live,
    samples: Mapping[str, Samples],
    runs: Mapping[str, TrainingRun],
    tuned: Finetuned,
    seconds: float,
    pictures: Pictures,
) -> SyncReport:
    """Store the finetuned tree, promote it if at least half of the attributes passed, and report.

    Those that did not pass keep their former path, bit by bit: the former trunk becomes their own.
    """
    backbone = replace(live.loaded.backbone, trunk=tuned.trunk)
    trunk = replace(save_trunk(data.store, backbone), spec=live.loaded.trunk.spec)
    ids = {i for part in samples.values() for i in part.labels.image_ids.tolist()}
    seen = replace(pictures, digests={i: digest for i, digest in pictures.digests.items() if i in ids}, failed={})
    branches = {}
    for name, refined in tuned.branches.items():
        former, labels = live.branches[name], samples[name].labels
        head, metrics = (former.head, former.head_options), _describe(former, refined)
        read = data.samples(labels, seen, backbone, trunk.digest, (PYRAMID,), flip=False)
        known = familiar(backbone, read[PYRAMID], data.recipes.of(name))
        branches[name] = TrainedBranch(
            runs[name], labels, refined.branch, head, refined.calibration, known, metrics, seconds
        )
    lost = {name: tuned.branches[name].verdict.reason for name in tuned.lost}
    records = {name: trained.store(data, trunk.digest) for name, trained in branches.items()}
    if tuned.passed:
        records |= {name: _as_it_was(live.branches[name], records[name]) for name in lost}
    status = {name: PROMOTED if tuned.passed and name not in lost else REJECTED for name in branches}
    now, proof = commit(
        data,
        live,
        trunk,
        list(records.values()),
        "finetuned end to end" + (f"; as it was: {', '.join(sorted(lost))}" if tuned.passed and lost else ""),
        probe_of(list(samples.values())[-1].labels.image_ids.tolist(), pictures),
        promote=tuned.passed,
        finished=[trained.finished(status[name]) for name, trained in branches.items()],
    )
    held = f"stored as tree version {now.version}, not live: " + "; ".join(f"{n} has {why}" for n, why in lost.items())
    kept = {name: f"{why}; it answers as it did, on a copy of the former trunk" for name, why in lost.items()}
    results = [
        trained.result(status[name], now.branches[name].id, proof, reason=kept.get(name) if tuned.passed else held)
        for name, trained in branches.items()
    ]
    return SyncReport(
        Plan(),
        tuple(results),
        TrunkReport(trunk.digest, data.settings.trunk.weights, {"epochs": tuned.fit.epochs, "seconds": seconds}),
        now.version if tuned.passed else live.version,
        tuple(data.quarantined.items()),
    )


def _as_it_was(former: BranchRecord, refined: BranchRecord) -> BranchRecord:
    """Return a branch that answers as `former` did, in the tree of `refined`: on a trunk of its own."""
    return replace(
        former,
        id=None,
        created_at=None,
        parts=former.path,
        depth=former.depth if former.depth == EXIT else NETWORK,
        trunk=refined.trunk,
        run_id=refined.run_id,
        familiarity=refined.familiarity,
    )


def _describe(former: BranchRecord, refined: Refined) -> dict[str, Any]:
    """Return what is reported of one attribute."""
    if refined.regrown:
        return {**describe(refined.regrown), "verdict": refined.verdict.reason, "regrown": True}
    return {
        **describe_scores(refined.scores, refined.calibration),
        "depth": former.depth,
        "donor": former.attribute,
        "verdict": refined.verdict.reason,
        "regrown": False,
    }
