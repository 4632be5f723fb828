"""The training half of a sync: trunk, branches, proof, promotion."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..answers import Floats
from ..catalog import BranchRecord, Catalog, NewVersion, TrainingRun, TreeVersion, TrunkRecord
from ..config import BranchSettings, Settings
from ..errors import ArtifactError, AttributreeError, PluginError, TrainingError
from ..inference import Pictures, branch_probabilities, compute_features, decode_images
from ..labels import LabelSet
from ..nn import RANDOM, Backbone, Branch, TrunkSpec, build_backbone, build_head
from ..plugins import LoadedPlugins
from ..progress import Progress
from ..registry import (
    STANDARD_HEAD,
    ArtifactStore,
    LoadedTree,
    Proof,
    load_tree,
    load_units,
    prove_unchanged,
    save_branch,
    save_trunk,
    unchanged_branches,
)
from ..schema import Attribute
from ..stores import ActivationStore
from ..training import (
    Donor,
    Grown,
    Samples,
    Verdict,
    gate_new,
    gate_retrained,
    grow,
    pick_device,
    predict_logits,
    train_trunk,
)
from ..training.grow import seed_everything
from ..training.guard import GuardedHead, HeadError
from .actor import actor
from .plan import Action, broken_owner
from .report import FAILED, KEPT, PROMOTED, Result, TrunkReport

log = logging.getLogger(__name__)

#: Images on which each growth proves that no old attribute moved.
PROBE_IMAGES = 16
#: What a donor that is the backbone's own pretrained stages is called.
BACKBONE = "backbone"


class Trainer:
    """One sync's training. Holds the trunk, the donors and the live tree between branches."""

    def __init__(
        self, catalog: Catalog, settings: Settings, plugins: LoadedPlugins, progress: Progress | None = None
    ) -> None:
        self.catalog = catalog
        self.settings = settings
        self.plugins = plugins
        self.progress = progress
        self.store = ArtifactStore(settings.catalog.artifacts)
        self.device = pick_device(settings.training.device)
        self.spec = TrunkSpec(**settings.trunk.model_dump())
        self.quarantined: dict[str, str] = {}
        self._trunk: TrunkRecord | None = None
        self._backbone: Backbone | None = None
        self._trained: dict[str, Any] | None = None
        self._seeds: list[Donor] = []  # what a branch may start from before any is live on this trunk
        self._live: LoadedTree | None = None
        self._live_id: int | None = None
        self._moved = False  # the live tree stands on another trunk
        self._staged: list[tuple[BranchRecord, TrainingRun, Result]] = []
        self._probe: npt.NDArray[np.uint8] | None = None

    def trunk_report(self) -> TrunkReport | None:
        """Return what is to be said of the trunk, None if it was never needed."""
        return TrunkReport(self._trunk.digest, self.spec.weights, self._trained) if self._trunk else None

    def run(self, actions: Sequence[Action]) -> Iterator[Result]:
        """Train what `actions` name, one after the other, and yield each result.

        On the trunk that is live each branch goes live by itself. A new trunk replaces every branch: then they go
        live together, and only if each attribute that was live passed its gate.
        """
        grows = [action for action in actions if action.attribute]
        try:
            self.store.sweep()
            self._load_live()
            self._prepare_trunk(grows)
        except AttributreeError as error:
            yield from (Result(str(a.attribute), a.action, FAILED, str(error)) for a in grows)
            return
        results = (self._train_one(action) for action in grows)
        yield from self._move_together(list(results)) if self._moved else results

    def _load_live(self) -> None:
        version = self.catalog.live()
        if version is not None:
            self._live_id = version.id
            self._live = load_tree(self.store, version.trunk, version.branches, self.plugins)
            self._moved = dict(version.trunk.spec) != self.settings.trunk_identity()

    # -- the trunk ---------------------------------------------------------------------------------

    def _prepare_trunk(self, grows: Sequence[Action]) -> None:
        """Take the live trunk, or make a new one: pretrained, or trained end to end if its weights are random."""
        if self._live is not None and not self._moved:
            self._trunk, self._backbone = self._live.trunk, self._live.backbone
            if self.spec.weights != RANDOM:
                self._seeds = [Donor(BACKBONE, build_backbone(self.spec).upper)]
            return
        self._backbone = build_backbone(self.spec)
        if self.spec.weights == RANDOM:
            self._train_trunk(self._backbone, [str(action.attribute) for action in grows])
        else:
            self._seeds = [Donor(BACKBONE, self._backbone.upper)]
        self._trunk = replace(save_trunk(self.store, self._backbone), spec=self.settings.trunk_identity())

    def _train_trunk(self, backbone: Backbone, names: Sequence[str]) -> None:
        """Train the trunk on all of `names` that can be trained; the others fail later, each by itself."""
        start = time.monotonic()
        label_sets = {name: self.catalog.label_set(name) for name in names}
        pictures = self._decode(np.unique(np.concatenate([s.image_ids for s in label_sets.values()])).tolist())
        samples, failed = {}, dict[str, str]()
        for name, label_set in label_sets.items():
            try:
                usable = self._usable(label_set, pictures)
                build_head(usable.attribute, backbone.out_channels, self.plugins)
            except (TrainingError, PluginError) as error:
                failed[name] = str(error)
                continue
            rows = pictures.rows(pictures.pixels, usable.image_ids.tolist())
            samples[name] = Samples((pictures.pixels.records(),), rows[:, None], usable)
        while samples:
            recipe = self.settings.for_attribute("")
            flip = recipe.flip and all(self.settings.for_attribute(name).flip for name in samples)
            seed_everything(recipe.seed, "heads of the trunk")
            heads = {
                name: GuardedHead(name, build_head(part.labels.attribute, backbone.out_channels, self.plugins))
                for name, part in samples.items()
            }
            try:
                trained = train_trunk(backbone, samples, heads, recipe.model_copy(update={"flip": flip}), self.progress)
                break
            except HeadError as error:
                failed[error.attribute] = str(error)
                del samples[error.attribute]
        else:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
            raise TrainingError(f"no attribute can train the trunk ({reasons}); nothing was promoted")
        self._seeds = [trained.donor]
        self._trained = {
            "attributes": list(samples),
            "epochs": trained.epochs,
            "seconds": round(time.monotonic() - start, 3),
            "macro_f1": {name: round(f1, 4) for name, f1 in trained.macro_f1.items()},
        }

    # -- one branch --------------------------------------------------------------------------------

    def _train_one(self, action: Action) -> Result:
        """Train one branch and promote it, or stage it if the trunk moved. A failure becomes a result."""
        name = str(action.attribute)
        start = time.monotonic()
        label_set = self.catalog.label_set(name)
        run = self.catalog.save_run(
            name,
            action.action,
            label_set.fingerprint,
            label_set.attribute.digest,
            self.settings.digest_for(name),
            label_set.revision,
        )
        try:
            return self._grow(action, label_set, run, start)
        except (TrainingError, PluginError) as error:
            return self._fail(action, run, start, str(error), retry=False)
        except AttributreeError as error:
            return self._fail(action, run, start, str(error), retry=True)
        except Exception as error:
            # A plugin's head runs in here; whatever it raises must not take the other attributes along.
            log.exception("training %s failed", name)
            return self._fail(action, run, start, f"{type(error).__name__}: {error}", retry=True)

    def _fail(self, action: Action, run: TrainingRun, start: float, error: str, *, retry: bool) -> Result:
        seconds = time.monotonic() - start
        self.catalog.finish_run(run.id, FAILED, seconds=seconds, metrics={"retry": retry}, error=error)
        return Result(str(action.attribute), action.action, FAILED, error, seconds=seconds)

    def _grow(self, action: Action, label_set: LabelSet, run: TrainingRun, start: float) -> Result:
        trunk, backbone = self._ground()
        name = str(action.attribute)
        attribute = label_set.attribute
        recipe, progress = self.settings.for_attribute(name), self.progress
        head = self.plugins.head_owner(attribute, backbone.out_channels) or STANDARD_HEAD
        build_head(attribute, backbone.out_channels, self.plugins)  # a bad head is caught before any work
        pictures = self._decode(label_set.image_ids.tolist())
        usable = self._usable(label_set, pictures)
        samples = self._samples(usable, pictures, recipe)
        grown = grow(
            samples,
            self._donors(),
            lambda: build_head(attribute, backbone.out_channels, self.plugins),
            recipe,
            (lambda what, epoch, of: progress(f"{name}: {what}", epoch, of)) if progress else None,
        )
        log.info("%s: donor %s of %s, depth %s of %s", name, grown.donor, grown.probe, grown.depth, list(grown.depths))
        verdict = self._gate(grown, usable, recipe)
        parts = save_branch(self.store, grown.branch)
        record = BranchRecord(
            id=None,
            attribute=name,
            parts=parts,
            trunk=trunk.digest,
            depth=grown.depth,
            head=head,
            donor=grown.donor,
            values=attribute.labels.keys,
            kind=attribute.labels.kind,
            schema_digest=attribute.digest,
            revision=label_set.revision,
            fingerprint=usable.fingerprint,
            labels=len(usable),
            temperature=grown.calibration.temperature,
            cut=grown.calibration.cut,
            calibrated=grown.calibration.calibrated,
            metrics=describe(grown),
            config=recipe.model_dump(),
            run_id=run.id,
        )
        seconds = time.monotonic() - start
        metrics = {
            **describe(grown),
            "labels": len(usable),
            "train_labels": len(usable.part("train")),
            "megabytes": round(sum(self.store.size(part) for part in set(parts)) / 1e6, 2),
            "verdict": verdict.reason,
        }
        result = Result(name, action.action, KEPT, verdict.reason, None, seconds, metrics)
        if not verdict.promoted:
            self.catalog.finish_run(run.id, KEPT, seconds=seconds, metrics=metrics)
            return result
        if self._moved:
            self._staged.append((record, run, result))
            return replace(result, status=PROMOTED)
        version, proof = self._promote([record], action.reason)
        self.catalog.finish_run(run.id, PROMOTED, seconds=seconds, metrics=metrics)
        return replace(result, status=PROMOTED, branch=version.branches[name].id, unchanged=proof.to_json())

    def _samples(self, label_set: LabelSet, pictures: Pictures, recipe: BranchSettings) -> Samples:
        """Return the trunk features of a label set's images, mirrored ones as a second view if `recipe.flip`."""
        trunk, backbone = self._ground()
        ids = label_set.image_ids.tolist()
        inputs, rows = [], []
        for mirrored in (False, True) if recipe.flip else (False,):
            store = self._features(backbone, trunk, pictures, mirrored=mirrored)
            inputs.append(store.records())
            rows.append(pictures.rows(store, ids))
        return Samples(tuple(inputs), np.stack(rows, axis=1), label_set)

    def _donors(self) -> list[Donor]:
        """Return whose weights a branch may start from: the seeds, and over them the live branches."""
        donors = {donor.name: donor for donor in self._seeds}
        if self._live is not None and not self._moved:
            for name, branch in self._live.tree.branches.items():
                assert isinstance(branch, Branch)
                donors[name] = Donor(name, dict(branch.units.items()))
            for name in sorted(self._live.missing):  # its head is gone or broken, what it learnt below is not
                with suppress(ArtifactError):
                    units = load_units(self.store, self._live.branches[name], self._live.backbone)
                    donors[name] = Donor(name, units)
        return list(donors.values())

    def _gate(self, grown: Grown, label_set: LabelSet, recipe: BranchSettings) -> Verdict:
        attribute = label_set.attribute
        if self._live is None or attribute.name not in self._live.tree.branches:
            return gate_new(grown, recipe)
        val = label_set.part("val", labelled_only=True)
        live = self._live_probabilities(self._live, attribute, val)
        return gate_retrained(attribute.labels, grown, live, val.target, recipe)

    def _live_probabilities(self, live: LoadedTree, attribute: Attribute, val: LabelSet) -> Floats:
        """Return what the live tree says of `val`, through its own trunk and image size."""
        pictures = self._decode(val.image_ids.tolist(), live.backbone.spec.image_size)
        store = self._features(live.backbone, live.trunk, pictures)
        samples = Samples((store.records(),), pictures.rows(store, val.image_ids.tolist())[:, None], val)
        branch = live.tree.to(self.device).branches[attribute.name]
        return branch_probabilities(
            live.branches[attribute.name], attribute, predict_logits(branch, samples, self.device)
        )

    # -- promotion ---------------------------------------------------------------------------------

    def _promote(self, new: Sequence[BranchRecord], reason: str) -> tuple[TreeVersion, Proof]:
        """Build the next tree from artifacts, prove that the others did not move, and make it live."""
        trunk, _ = self._ground()
        names = {record.attribute for record in new}
        kept = {} if self._live is None or self._moved else self._live.branches
        branches = {**kept, **{record.attribute: record for record in new}}
        loaded = load_tree(self.store, trunk, branches, self.plugins)
        for name in sorted(names & loaded.missing.keys()):
            raise TrainingError(f"{name}: the new branch cannot be loaded back: {loaded.missing[name]}")
        proof = self._prove(loaded)
        version = self.catalog.commit_version(
            NewVersion(
                trunk=trunk,
                branches=tuple(branches.values()),
                parent=self._live_id,
                reason=f"{', '.join(sorted(names))}: {reason}",
                actor=actor(),
                proof=proof.to_json(),
            )
        )
        self._live, self._live_id = replace(loaded, branches=version.branches), version.id
        return version, proof

    def _prove(self, new: LoadedTree) -> Proof:
        """Compare the branches that stand in both trees. Raises TrainingError if one bit differs."""
        assert self._probe is not None
        if self._live is None or self._moved:
            return Proof((), len(self._probe), 0.0)
        old = self._live
        both = unchanged_branches(old.branches, new.branches)
        served = [name for name in both if name in old.tree.branches and name in new.tree.branches]
        proof = prove_unchanged(old.tree.cpu(), new.tree.cpu(), served, self._probe)
        if proof.max_abs_diff != 0.0:
            raise TrainingError(f"logits of {', '.join(served)} moved by {proof.max_abs_diff}; nothing was promoted")
        return proof

    def _move_together(self, results: Sequence[Result]) -> Iterator[Result]:
        """Promote the branches on a new trunk, all at once, or none of them."""
        assert self._live is not None
        passed = {record.attribute for record, _, _ in self._staged}
        orphans = self._orphans()
        lost = sorted(self._live.branches.keys() - passed - orphans)
        if lost or not passed:
            why = f"the new trunk has no good branch for {', '.join(lost)}; the tree on the old trunk stays live"
            for _, run, result in self._staged:
                metrics = {**result.metrics, "verdict": why}
                self.catalog.finish_run(run.id, KEPT, seconds=result.seconds, metrics=metrics)
            yield from (replace(r, status=KEPT, reason=why) if r.attribute in passed else r for r in results)
            return
        without = f", without the orphaned {', '.join(sorted(orphans))}" if orphans else ""
        version, proof = self._promote([record for record, _, _ in self._staged], f"a new trunk{without}")
        for _, run, result in self._staged:
            self.catalog.finish_run(run.id, PROMOTED, seconds=result.seconds, metrics=result.metrics)
        for result in results:
            if result.attribute in passed:
                branch = version.branches[result.attribute].id
                yield replace(result, status=PROMOTED, branch=branch, unchanged=proof.to_json())
            else:
                yield result

    def _orphans(self) -> set[str]:
        """Return the live attributes that no plugin declares any more, and none that is broken did."""
        assert self._live is not None
        catalogued, problems = self.catalog.attributes(), self.plugins.problems
        gone = self._live.branches.keys() - self.plugins.attributes.keys()
        return {name for name in gone if not broken_owner(catalogued[name], problems)}

    # -- small things ------------------------------------------------------------------------------

    def _ground(self) -> tuple[TrunkRecord, Backbone]:
        """Return the trunk that branches grow on."""
        assert self._trunk is not None
        assert self._backbone is not None
        return self._trunk, self._backbone

    def _decode(self, ids: Sequence[int], size: int | None = None) -> Pictures:
        """Decode images; those that fail are quarantined, and reported with the sync."""
        workers, cache = self.settings.training.workers, self.settings.catalog.cache
        pictures = decode_images(self.catalog, cache, size or self.spec.image_size, ids, workers, self.progress)
        if pictures.failed:
            paths = {image.id: image.path for image in self.catalog.images(ids=list(pictures.failed))}
            self.quarantined |= {paths[i]: reason for i, reason in pictures.failed.items()}
        return pictures

    def _usable(self, label_set: LabelSet, pictures: Pictures) -> LabelSet:
        """Return the label set without the images that could not be decoded; keep some of the others as a probe."""
        usable = label_set.take(np.isin(label_set.image_ids, list(pictures.digests)))
        if not len(usable.part("train")) or not len(usable.part("val", labelled_only=True)):
            raise TrainingError(f"{label_set.attribute.name}: too few of its images could be decoded; see status")
        probe = [pictures.digests[i] for i in usable.image_ids[:PROBE_IMAGES].tolist()]
        self._probe = pictures.pixels.read(probe).astype(np.uint8)
        return usable

    def _features(
        self, backbone: Backbone, trunk: TrunkRecord, pictures: Pictures, *, mirrored: bool = False
    ) -> ActivationStore:
        cache = self.settings.catalog.cache
        return compute_features(
            backbone, trunk.digest, pictures, cache, self.device, mirrored=mirrored, progress=self.progress
        )


def describe(grown: Grown) -> dict[str, Any]:
    """Return what a report says of a branch: scores by split, and how donor and depth were chosen."""
    return {
        **{split: scores.to_json() for split, scores in grown.scores.items()},
        "depth": grown.depth,
        "donor": grown.donor,
        "probe": {name: round(f1, 4) for name, f1 in grown.probe.items()},
        "depths": {
            name: {"macro_f1": round(fitted.macro_f1, 4), "epochs": fitted.epochs}
            for name, fitted in grown.depths.items()
        },
        "floor": round(grown.floor, 4),
        "temperature": round(grown.calibration.temperature, 4),
        "cut": None if grown.calibration.cut is None else round(grown.calibration.cut, 4),
        "calibrated": grown.calibration.calibrated,
    }
