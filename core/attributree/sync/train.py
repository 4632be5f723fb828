"""The training half of a sync: trunk, branches, promotion."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from ..answers import Floats
from ..catalog import Catalog
from ..errors import (
    ArtifactError,
    AttributreeError,
    ConfigError,
    LeaseError,
    OvertakenError,
    PluginError,
    TrainingError,
)
from ..inference import branch_probabilities
from ..label_set import LabelSet
from ..nn import MAPS, PYRAMID, RANDOM, Backbone, Branch, HeadFactory, Reads, build_backbone
from ..plugins import LoadedPlugins
from ..registry.records import BranchRecord, FinishedRun, TrainingRun, TreeVersion, TrunkRecord, Work
from ..registry.trees import LoadedTree, Proof, load_units, save_branch, save_trunk, unit_digests
from ..reports import BUSY, FAILED, PROMOTED, REJECTED, SKIPPED, Action, Progress, Result, TrunkReport
from ..schema import Attribute
from ..settings.models import EXIT, NOT_IN_DIGEST, BranchSettings, Settings
from ..training import (
    Checkpoints,
    Donor,
    Executor,
    Grown,
    GuardedHead,
    GuardedLoss,
    HeadError,
    Inline,
    Verdict,
    gate_new,
    gate_replaced,
    grow,
    predict_logits,
    seed_everything,
    train_trunk,
)
from .actor import made_with
from .ground import Ground
from .lease import Leases
from .plan import broken_owner
from .promote import Live, commit, load_live
from .records import branch_record, describe

log = logging.getLogger(__name__)

#: What a donor that is the backbone's own pretrained stages is called.
BACKBONE = "backbone"
#: How often a promotion is begun again because another worker's came first.
_PROMOTIONS = 20


class Trainer:
    """One sync's training. Holds the trunk, the donors and the live tree between branches."""

    def __init__(
        self,
        catalog: Catalog,
        settings: Settings,
        plugins: LoadedPlugins,
        progress: Progress | None = None,
        executor: Executor | None = None,
        *,
        leases: Leases,
        seen: Collection[int] = (),
        standing: Callable[[], None] = lambda: None,
    ) -> None:
        """`seen` are the runs that the plan knew to be finished; `standing` is called once others may train beside."""
        self.ground = Ground(catalog, settings, plugins, progress)
        self.catalog = catalog
        self.settings = self.ground.settings
        self.plugins = plugins
        self.progress = progress
        self.executor = executor or Inline()
        self._trunk: TrunkRecord | None = None
        self._backbone: Backbone | None = None
        self._trained: dict[str, Any] | None = None
        self._seeds: list[Donor] = []  # what a branch may start from before any is live on this trunk
        self._live: Live | None = None
        self._moved = False  # the live tree stands on another trunk
        self._trunk_run: Checkpoints | None = None
        self._leases = leases
        self._seen = frozenset(seen)
        self._stands = standing
        self._staged: list[tuple[BranchRecord, TrainingRun, Result]] = []

    @property
    def quarantined(self) -> dict[str, str]:
        """The images that could not be decoded, and why."""
        return self.ground.quarantined

    def trunk_report(self) -> TrunkReport | None:
        """Return what is to be said of the trunk, None if it was never needed."""
        weights = self.settings.trunk.weights
        return TrunkReport(self._trunk.digest, weights, self._trained) if self._trunk else None

    def run(self, actions: Sequence[Action]) -> Iterator[Result]:
        """Train what `actions` name, one after the other, and yield each result.

        On the trunk that is live each branch goes live by itself. A new trunk replaces every branch: then they go
        live together, and only if each attribute that was live passed its gate.
        """
        grows = [action for action in actions if action.attribute]
        try:
            self.ground.store.sweep()
            self._live = load_live(self.ground)
            if self._live:
                self._moved = dict(self._live.loaded.trunk.spec) != self.settings.trunk_identity()
            self._prepare_trunk(grows)
        except AttributreeError as error:
            yield from (Result(str(a.attribute), a.action, FAILED, str(error)) for a in grows)
            return
        if self._moved:
            yield from self._move_together([self._train_one(action) for action in grows])
        for action in () if self._moved else grows:
            if self._live:
                self._stands()
            yield self._train_one(action)
        if self._trunk_run and self._live and self._live.loaded.trunk.digest == self._standing()[0].digest:
            self._trunk_run.forget()  # not before: until a branch is live on it, the trunk is nowhere else

    # -- the trunk ---------------------------------------------------------------------------------

    def _prepare_trunk(self, grows: Sequence[Action]) -> None:
        """Take the live trunk, or make a new one: pretrained, or trained end to end if its weights are random."""
        spec, store = self.ground.spec, self.ground.store
        if self._live is not None and not self._moved:
            self._trunk, self._backbone = self._live.loaded.trunk, self._live.loaded.backbone
            if spec.weights != RANDOM:
                upper = build_backbone(spec).upper
                self._seeds = [Donor(BACKBONE, upper, unit_digests(upper))]
            return
        self._backbone = build_backbone(spec)
        if spec.weights == RANDOM:
            self._train_trunk(self._backbone, [str(action.attribute) for action in grows])
        else:
            upper = self._backbone.upper
            self._seeds = [Donor(BACKBONE, upper, unit_digests(upper))]
        self._trunk = replace(save_trunk(store, self._backbone), spec=self.settings.trunk_identity())

    def _train_trunk(self, backbone: Backbone, names: Sequence[str]) -> None:
        """Train the trunk on all of `names` that can be trained; the others fail later, each by itself."""
        start, ground = time.monotonic(), self.ground
        label_sets = {name: self.catalog.labels.label_set(name) for name in names}
        pictures = ground.decode(np.unique(np.concatenate([s.image_ids for s in label_sets.values()])).tolist())
        samples, losses, failed = {}, dict[str, GuardedLoss](), dict[str, str]()
        for name, label_set in label_sets.items():
            try:
                samples[name] = ground.pixels(ground.usable(label_set, pictures), pictures)
                self._new_head(label_set.attribute, backbone)()
                losses |= ground.losses([label_set.attribute])
            except (TrainingError, PluginError, ConfigError) as error:
                failed[name] = str(error)
                samples.pop(name, None)
        while samples:
            recipe = ground.recipe(list(samples))
            seed_everything(recipe.seed, "heads of the trunk")
            heads = {
                name: GuardedHead(name, self._new_head(part.labels.attribute, backbone)())
                for name, part in samples.items()
            }
            self._trunk_run = checkpoints = ground.checkpoints(
                "trunk",
                trunk=self.settings.trunk_identity(),
                recipe=recipe.model_dump(exclude=set(NOT_IN_DIGEST)),
                labels={name: part.labels.fingerprint for name, part in samples.items()},
                heads={name: repr(head) for name, head in heads.items()},
                losses={name: self.settings.for_attribute(name).loss for name in samples},
                executor=self.executor.name,
            )
            try:
                trained = self.executor.run(
                    train_trunk,
                    backbone,
                    samples,
                    heads,
                    recipe,
                    losses={name: loss for name, loss in losses.items() if name in samples},
                    checkpoints=checkpoints,
                    progress=self.progress,
                )
                break
            except HeadError as error:
                failed[error.attribute] = str(error)
                del samples[error.attribute]
        else:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
            raise TrainingError(f"no attribute can train the trunk ({reasons}); nothing was promoted")
        self._backbone = trained.backbone
        self._seeds = [replace(trained.donor, digests=unit_digests(trained.donor.units))]
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
        label_set = self.catalog.labels.label_set(name)
        digest = self.settings.digest_for(name)
        schema, revision = label_set.attribute.digest, label_set.revision
        work = Work(name, action.action, label_set.fingerprint, schema, digest, revision, action.reason)
        run = self._leases.claim(work, self._seen)
        if run is None:
            return Result(name, action.action, BUSY, "another sync trains it")
        try:
            if self._live and not self._moved:
                self._catch_up()
            return self._grow(action, label_set, run, start)
        except LeaseError as error:
            return Result(name, action.action, SKIPPED, str(error), seconds=time.monotonic() - start)
        except (TrainingError, PluginError, ConfigError, HeadError) as error:
            return self._fail(action, run, start, str(error), retry=False)
        except AttributreeError as error:
            return self._fail(action, run, start, str(error), retry=True)
        except Exception as error:
            # A plugin's head runs in here; whatever it raises must not take the other attributes along.
            log.exception("training %s failed", name)
            return self._fail(action, run, start, f"{type(error).__name__}: {error}", retry=True)
        finally:
            if not self._moved:
                self._leases.drop(run)

    def _fail(self, action: Action, run: TrainingRun, start: float, error: str, *, retry: bool) -> Result:
        seconds = time.monotonic() - start
        with suppress(LeaseError):  # another worker has it by now, and its own result
            self.catalog.registry.finish_run(run, FAILED, seconds=seconds, metrics={"retry": retry}, error=error)
        return Result(str(action.attribute), action.action, FAILED, error, seconds=seconds)

    def _grow(self, action: Action, label_set: LabelSet, run: TrainingRun, start: float) -> Result:
        trunk, backbone = self._standing()
        name, attribute = str(action.attribute), label_set.attribute
        recipe, progress = self.settings.for_attribute(name), self.progress
        new_head = self._new_head(attribute, backbone)
        new_exit = self._new_head(attribute, backbone, at_exit=True) if self._may_exit(name, recipe) else None
        heads = {depth: make.whose() for depth, make in (("", new_head), (EXIT, new_exit)) if make}
        made = [make() for make in (new_head, new_exit) if make]  # a bad one is caught before any work
        reads = _reads(recipe.depth, made[-1])
        loss = self.ground.losses([attribute]).get(name)
        pictures = self.ground.decode(label_set.image_ids.tolist())
        usable = self.ground.usable(label_set, pictures)
        samples = self.ground.samples(usable, pictures, backbone, trunk.digest, reads, flip=recipe.flip)
        donors = self._donors()
        checkpoints = self.ground.checkpoints(
            f"branch-{name}",
            fingerprint=usable.fingerprint,
            config=self.settings.digest_for(name),
            trunk=trunk.digest,
            donors=[donor.digests for donor in donors],
            heads=[heads, [repr(head) for head in made]],
            executor=self.executor.name,
        )
        grown = self.executor.run(
            grow,
            samples,
            donors,
            new_head,
            recipe,
            new_exit=new_exit,
            tops=self.ground.tops(backbone, trunk.digest, pictures),
            loss=loss,
            checkpoints=checkpoints,
            progress=(lambda what, epoch, of: progress(f"{name}: {what}", epoch, of)) if progress else None,
        )
        log.info("%s: donor %s of %s, depth %s of %s", name, grown.donor, grown.probe, grown.depth, list(grown.depths))
        verdict = self._gate(grown, usable, recipe)
        parts = save_branch(self.ground.store, grown.branch)
        record = branch_record(
            usable,
            parts,
            trunk.digest,
            depth=grown.depth,
            head=heads[EXIT if grown.depth == EXIT else ""],
            donor=grown.donor,
            calibration=grown.calibration,
            metrics=describe(grown),
            recipe=recipe,
            run_id=run.id,
            made_with=made_with(self.plugins),
        )
        seconds = time.monotonic() - start
        metrics = {
            **describe(grown),
            "labels": len(usable),
            "train_labels": len(usable.part("train")),
            "megabytes": round(sum(self.ground.store.size(part) for part in set(parts)) / 1e6, 2),
            "verdict": verdict.reason,
        }
        result = Result(name, action.action, REJECTED, verdict.reason, None, seconds, metrics)
        if not verdict.promoted:
            self.catalog.registry.finish_run(run, REJECTED, seconds=seconds, metrics=metrics)
        elif self._moved:
            self._staged.append((record, run, result))
            result = replace(result, status=PROMOTED)
        else:
            version, proof = self._go_live(record, action.reason, FinishedRun(run, PROMOTED, seconds, metrics))
            branch = version.branches[name].id
            result = replace(result, status=PROMOTED, branch=branch, unchanged=proof.to_json())
        checkpoints.forget()
        return result

    def _new_head(self, attribute: Attribute, backbone: Backbone, *, at_exit: bool = False) -> HeadFactory:
        return HeadFactory.of(attribute, backbone, self.plugins, self.settings.for_attribute(attribute.name), at_exit)

    def _may_exit(self, name: str, recipe: BranchSettings) -> bool:
        """Return whether `name` may have a branch without units, because it is told to, or others have some.

        The upper stages that a random trunk was trained with live on in branches alone: one must keep them.
        """
        if recipe.depth != "auto" or self.ground.spec.weights != RANDOM:
            return recipe.depth in ("auto", EXIT)
        live = self._live.branches.values() if self._live and not self._moved else ()
        others = [record for record in (*live, *(staged for staged, _, _ in self._staged)) if record.attribute != name]
        return any(record.depth != EXIT for record in others)

    def _go_live(self, record: BranchRecord, reason: str, done: FinishedRun) -> tuple[TreeVersion, Proof]:
        """Promote one branch, beside whatever other workers have promoted meanwhile."""
        trunk, _ = self._standing()
        for _ in range(_PROMOTIONS):
            try:
                self._live, version, proof = commit(self.ground, self._live, trunk, [record], reason, finished=[done])
            except OvertakenError as error:
                overtaken = error
                self._catch_up()
            else:
                return version, proof
        raise overtaken

    def _catch_up(self) -> None:
        """Take up what other workers promoted on this trunk. Raises OvertakenError if they put the tree on another."""
        now = self.catalog.registry.live()
        if now is None or (self._live and now.id == self._live.version):
            return
        live = load_live(self.ground)
        if live is None or live.loaded.trunk.digest != self._standing()[0].digest:
            raise OvertakenError(
                f"tree version {now.id} went live while this was on its way, and stands on another trunk"
            )
        self._live = live

    def _donors(self) -> list[Donor]:
        """Return whose weights a branch may start from: the seeds, and over them the live branches."""
        donors = {donor.name: donor for donor in self._seeds}
        if self._live is not None and not self._moved:
            loaded = self._live.loaded
            for name, limb in loaded.tree.limbs().items():
                if limb.keys:  # an exit has no units to start from
                    donors[name] = Donor(name, dict(limb.branch.units.items()), limb.keys)
            for name in sorted(loaded.missing):  # its head is gone or broken, what it learnt below is not
                if loaded.branches[name].depth == EXIT:
                    continue
                with suppress(ArtifactError):
                    units = load_units(self.ground.store, loaded.branches[name], loaded.backbone)
                    donors[name] = Donor(name, units, loaded.branches[name].parts[:-1])
        return list(donors.values())

    def _gate(self, grown: Grown, label_set: LabelSet, recipe: BranchSettings) -> Verdict:
        attribute = label_set.attribute
        if self._live is None or attribute.name not in self._live.loaded.tree.branches:
            return gate_new(grown, recipe)
        val = label_set.part("val", labelled_only=True)
        live = self._live_probabilities(self._live.loaded, self.catalog.labels.attributes()[attribute.name].today, val)
        return gate_replaced(attribute.labels, live, grown.answers, val.target, recipe)

    def _live_probabilities(self, live: LoadedTree, attribute: Attribute, val: LabelSet) -> Floats:
        """Return what the live tree says of `val`, through its own trunk and image size."""
        pictures = self.ground.decode(val.image_ids.tolist(), live.backbone.spec.image_size)
        branch = live.tree.to(self.ground.device).branch(attribute.name)
        samples = self.ground.samples(val, pictures, live.backbone, live.trunk.digest, (branch.reads,), flip=False)
        logits = predict_logits(branch, samples[branch.reads], self.ground.device)
        return branch_probabilities(live.branches[attribute.name], attribute, logits)

    # -- promotion ---------------------------------------------------------------------------------

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
                self.catalog.registry.finish_run(run, REJECTED, seconds=result.seconds, metrics=metrics)
            yield from (replace(r, status=REJECTED, reason=why) if r.attribute in passed else r for r in results)
            return
        without = f", without the orphaned {', '.join(sorted(orphans))}" if orphans else ""
        trunk, _ = self._standing()
        new = [record for record, _, _ in self._staged]
        finished = [FinishedRun(run, PROMOTED, result.seconds, result.metrics) for _, run, result in self._staged]
        self._live, version, proof = commit(
            self.ground, self._live, trunk, new, f"a new trunk{without}", finished=finished
        )
        for result in results:
            if result.attribute in passed:
                branch = version.branches[result.attribute].id
                yield replace(result, status=PROMOTED, branch=branch, unchanged=proof.to_json())
            else:
                yield result

    def _orphans(self) -> set[str]:
        """Return the live attributes that no plugin declares any more, and none that is broken did."""
        assert self._live is not None
        catalogued, problems = self.catalog.labels.attributes(), self.plugins.problems
        gone = self._live.branches.keys() - self.plugins.attributes.keys()
        return {name for name in gone if not broken_owner(catalogued[name], problems)}

    def _standing(self) -> tuple[TrunkRecord, Backbone]:
        """Return the trunk that branches grow on."""
        assert self._trunk is not None
        assert self._backbone is not None
        return self._trunk, self._backbone


def _reads(depth: str, exit_head: nn.Module) -> frozenset[Reads]:
    """Return what is to be computed of the trunk's features for a branch of that depth.

    With "auto" both, even if there may be no exit this time: the next branch reads them, and the trunk is run once.
    """
    if depth == "auto":
        return frozenset((MAPS, PYRAMID))
    return frozenset((Branch({}, exit_head).reads if depth == EXIT else MAPS,))
