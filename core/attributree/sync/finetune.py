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
from ..inference import Pictures, branch_probabilities
from ..label_set import LabelSet
from ..nn import Crown, Tree
from ..plugins import LoadedPlugins
from ..registry.records import BranchRecord, FinishedRun, TrainingRun, Work
from ..registry.trees import LoadedTree, head_factory, save_branch, save_trunk
from ..reports import PROMOTED, REJECTED, Plan, Progress, Result, SyncReport, TrunkReport
from ..settings.models import NOT_IN_DIGEST, Settings
from ..training import (
    Executor,
    Finetuned,
    HeadError,
    Inline,
    Refined,
    Samples,
    Teacher,
    finetune,
    logits_at,
    predict_joint,
)
from .actor import made_with
from .ground import Ground
from .lease import Leases
from .promote import Live, commit, load_live
from .records import branch_record, describe, describe_scores

ACTION, REASON = "finetune", "asked for by `attributree finetune`"


def finetune_catalog(
    catalog: Catalog,
    settings: Settings,
    plugins: LoadedPlugins,
    *,
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> SyncReport:
    """Finetune the live tree end to end on all labels, and promote it if no attribute lost more than it may.

    One tree has one trunk: if a single attribute is gated out, even after it was grown once more on the finetuned
    trunk, the whole tree is kept and not promoted; `promote` makes it live all the same. Raises CatalogError if nothing
    is live, a plugin is missing, or an attribute's values or kind changed since its branch was trained.
    """
    with catalog.sync_lock(), Leases(catalog) as leases:
        ground = Ground(catalog, settings, plugins, progress)
        ground.store.sweep()
        live = load_live(ground)
        if live is None:
            raise CatalogError("no tree is live yet; run: attributree sync-catalog")
        label_sets = {name: _label_set(ground, live.loaded, name) for name in sorted(live.branches)}
        return _finetune(ground, live, label_sets, _claim(ground, label_sets, leases), executor or Inline())


def _claim(ground: Ground, label_sets: Mapping[str, LabelSet], leases: Leases) -> dict[str, TrainingRun]:
    """Return a run for each attribute. Raises CatalogError if one of them is being trained by another worker."""
    ground.catalog.registry.require_idle()
    runs = {}
    for name, labels in label_sets.items():
        digest = ground.settings.digest_for(name)
        work = Work(name, ACTION, labels.fingerprint, labels.attribute.digest, digest, labels.revision, REASON)
        run = leases.claim(work)
        if run is None:
            raise CatalogError(f"{name} is being trained by another worker; try again when it is done")
        runs[name] = run
    return runs


def _label_set(ground: Ground, loaded: LoadedTree, name: str) -> LabelSet:
    """Return an attribute's labels. Raises CatalogError if its live branch does not answer in today's values."""
    if name in loaded.missing:
        raise CatalogError(f"{name} cannot be finetuned: {loaded.missing[name]}")
    label_set = ground.catalog.labels.label_set(name)
    labels, branch = label_set.attribute.labels, loaded.branches[name]
    if (labels.keys, labels.kind) != (branch.values, branch.kind):
        what = "kind" if labels.keys == branch.values else "values"
        raise CatalogError(
            f"{name}: its {what} changed since its branch was trained; run first: "
            f"attributree sync-catalog --retrain {name}"
        )
    return label_set


def _finetune(
    ground: Ground,
    live: Live,
    label_sets: Mapping[str, LabelSet],
    runs: Mapping[str, TrainingRun],
    executor: Executor,
) -> SyncReport:
    start, loaded, names = time.monotonic(), live.loaded, sorted(label_sets)
    recipe = ground.recipe(names)
    size = loaded.backbone.spec.image_size
    unknown = {name: ground.catalog.labels.missing(name) for name in names}
    ids = np.unique(np.concatenate([*(s.image_ids for s in label_sets.values()), *map(np.asarray, unknown.values())]))
    pictures = ground.decode(ids.astype(np.int64).tolist(), size)
    samples = {name: ground.pixels(ground.usable(part, pictures), pictures) for name, part in label_sets.items()}
    spoken = {
        name: sorted({*samples[name].labels.part("train").image_ids.tolist(), *_train_ids(ground, more, pictures)})
        for name, more in unknown.items()
    }
    heads = {
        name: head_factory(live.branches[name], part.attribute, loaded.backbone, ground.plugins)
        for name, part in label_sets.items()
    }
    losses = ground.losses(part.attribute for part in label_sets.values())
    checkpoints = ground.checkpoints(
        ACTION,
        trunk=loaded.trunk.digest,
        branches={name: branch.parts for name, branch in live.branches.items()},
        labels={name: part.labels.fingerprint for name, part in samples.items()},
        unknown={name: len(spoken[name]) for name in names},
        recipe=recipe.model_dump(exclude=set(NOT_IN_DIGEST)),
        losses={name: ground.settings.for_attribute(name).loss for name in names},
        executor=executor.name,
    )
    try:
        tuned = executor.run(
            finetune,
            Crown(*copy.deepcopy((loaded.tree.trunk, loaded.tree.limbs()))).requires_grad_(True),
            samples,
            _answers(ground, loaded, samples),
            _teachers(ground, loaded.tree, samples, spoken, pictures),
            heads,
            recipe,
            {name: ground.settings.for_attribute(name) for name in names},
            losses=losses,
            checkpoints=checkpoints,
            progress=ground.progress,
        )
    except HeadError as error:
        raise TrainingError(f"{error.attribute} cannot be finetuned: {error}; nothing was promoted") from error
    report = _conclude(ground, live, samples, runs, tuned, time.monotonic() - start)
    checkpoints.forget()
    return report


def _teachers(
    ground: Ground, tree: Tree, samples: Mapping[str, Samples], spoken: Mapping[str, list[int]], pictures: Pictures
) -> dict[str, Teacher]:
    """Return what the live tree says of the train images of `spoken`, by attribute."""
    rows = {name: pictures.rows(pictures.pixels, ids) for name, ids in spoken.items()}
    every = np.unique(np.concatenate(list(rows.values())))
    logits = logits_at(tree.to(ground.device), pictures.pixels.records(), every, list(samples), ground.device)
    return {name: Teacher(mine, logits[name][np.searchsorted(every, mine)]) for name, mine in rows.items()}


def _train_ids(ground: Ground, ids: list[int], pictures: Pictures) -> list[int]:
    """Return those of `ids` that are in the train split and could be decoded."""
    return [i.id for i in ground.catalog.labels.images(ids=ids) if i.split == "train" and i.id in pictures.digests]


def _answers(ground: Ground, loaded: LoadedTree, samples: Mapping[str, Samples]) -> dict[str, Floats]:
    """Return the live branches' probabilities (N, C) of the unambiguous validation samples."""
    val = {name: part.part("val", labelled_only=True) for name, part in samples.items()}
    logits = predict_joint(loaded.tree.to(ground.device), val, ground.device)
    return {
        name: branch_probabilities(loaded.branches[name], part.labels.attribute, logits[name])
        for name, part in val.items()
    }


def _conclude(
    ground: Ground,
    live: Live,
    samples: Mapping[str, Samples],
    runs: Mapping[str, TrainingRun],
    tuned: Finetuned,
    seconds: float,
) -> SyncReport:
    """Store the finetuned tree, promote it if every attribute passed, and report."""
    lost = {name: tuned.branches[name].verdict.reason for name in tuned.lost}
    metrics = {name: _describe(live.branches[name], refined) for name, refined in tuned.branches.items()}
    backbone = replace(live.loaded.backbone, trunk=tuned.trunk)
    trunk = replace(save_trunk(ground.store, backbone), spec=live.loaded.trunk.spec)
    records = []
    for name, refined in tuned.branches.items():
        labels, former = samples[name].labels, live.branches[name]
        records.append(
            branch_record(
                labels,
                save_branch(ground.store, refined.branch),
                trunk.digest,
                depth=metrics[name]["depth"],
                head=(former.head, former.head_options),
                donor=metrics[name]["donor"],
                calibration=refined.calibration,
                metrics=metrics[name],
                recipe=ground.settings.for_attribute(name),
                run_id=runs[name].id,
                made_with=made_with(ground.plugins),
            )
        )
    status = REJECTED if lost else PROMOTED
    finished = [FinishedRun(runs[name], status, seconds, metrics[name]) for name in tuned.branches]
    after, version, proof = commit(
        ground, live, trunk, records, "finetuned end to end", promote=not lost, finished=finished
    )
    held = f"kept as tree version {version.id}, not live: " + "; ".join(f"{n} has {why}" for n, why in lost.items())
    results = []
    for name, refined in tuned.branches.items():
        reason = held if lost else refined.verdict.reason
        branch = version.branches[name].id
        results.append(Result(name, ACTION, status, reason, branch, seconds, metrics[name], proof.to_json()))
    return SyncReport(
        Plan(),
        tuple(results),
        TrunkReport(trunk.digest, ground.settings.trunk.weights, {"epochs": tuned.fit.epochs, "seconds": seconds}),
        live.version if lost else after.version,
        tuple(ground.quarantined.items()),
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
