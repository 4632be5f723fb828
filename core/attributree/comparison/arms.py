"""The four ways to a catalogue's attributes, trained on the same images, labels and budget."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from torch import nn

from ..errors import TrainingError
from ..inference.features import Pictures
from ..nn.sources import RANDOM
from ..nn.tree import Branch, JointModel, KeyedBranch, Tree, on_own_trunk
from ..nn.trunk import PIXELS, PYRAMID, Reads, Trunk
from ..reports import progress_of
from ..schema import SPLITS
from ..settings.models import EXIT, BranchSettings
from ..settings.recipes import outcome_settings
from ..sync.data import TrainingData
from ..training.checkpoint import Checkpoints
from ..training.data import Samples
from ..training.donors import Donor
from ..training.finetune import Refined, finetune
from ..training.guard import GuardedHead, HeadError
from ..training.joint import Teacher, teach, train_joint
from ..training.loop import seed_everything
from ..training.progressive import BACKBONE, GrowingTree, grow_branch, learn_trunk
from ..training.trunk import TrainedTrunk, one_for_all, reset
from . import FINETUNED, INDIVIDUAL, MULTILABEL, PROGRESSIVE
from .measure import Answered, measure

NETWORK = "network of all attributes"
FEATURES = "trunk features"
JOINT = "finetuning"


@dataclass(frozen=True, eq=False)
class Arm:
    """What one way led to: networks that together answer every attribute, and how it went.

    `parts` are seconds of training; `details` is said of each attribute beside its scores, `said` of the arm.
    """

    trees: tuple[Tree, ...]
    answered: dict[str, Answered]
    parts: dict[str, float]
    details: dict[str, dict[str, Any]]
    said: dict[str, Any] = field(default_factory=dict)


class Trial:
    """One seed's arms. Each is trained when it is asked for, and what two have in common once.

    `samples` by attribute, pixels of all splits; `cold` is the same data with an empty cache, so that the trunk's
    features are computed, and their seconds counted, whatever the catalogue has computed before. `run` holds what a
    comparison that was broken off is taken up from, and `resumed` says whether that was there.
    """

    def __init__(
        self,
        data: TrainingData,
        cold: TrainingData,
        samples: Mapping[str, Samples],
        pictures: Pictures,
        article_types: Mapping[int, str],
    ) -> None:
        self._data, self._cold = data, cold
        self._samples, self._pictures = samples, pictures
        labels = {name: part.labels for name, part in samples.items()}
        self._seen = {name: each.take(each.split != SPLITS.index("test")) for name, each in labels.items()}
        self._types = article_types
        self._backbone = data.backbone()  # as every arm begins; each works on a copy
        self._setups = {name: data.setup(part.labels.attribute, self._backbone) for name, part in samples.items()}
        self._recipes = {name: setup.recipe for name, setup in self._setups.items()}
        self.run = data.checkpoints(
            f"compare-{data.settings.training.seed}",
            trunk=data.settings.trunk_identity(),
            recipes={name: outcome_settings(recipe) for name, recipe in self._recipes.items()},
            labels={name: part.labels.fingerprint for name, part in samples.items()},
            heads={name: repr(setup.head()) for name, setup in self._setups.items()},
        )
        self.resumed = self.run.folder.exists()
        self._seconds: dict[str, float] = {}  # by part
        self._tell = data.progress or (lambda *_: None)

    def train(self, arm: str) -> Arm:
        """Return an arm, trained and measured. Raises TrainingError if it cannot be trained."""
        arms: dict[str, Callable[[], Arm]] = {
            INDIVIDUAL: self._individual,
            MULTILABEL: self._multilabel,
            PROGRESSIVE: lambda: self._progressive,
            FINETUNED: self._finetuned,
        }
        try:
            return arms[arm]()
        except HeadError as error:
            raise TrainingError(
                f"{error.attribute}: what its plugin brings failed ({error}); "
                "mend its plugin, or name the others with --attribute"
            ) from error

    # -- whole networks ----------------------------------------------------------------------------

    def _individual(self) -> Arm:
        trees, details = [], {}
        for name, recipe in self._recipes.items():
            tree, epochs = self._network(name, [name], recipe)
            trees.append(tree)
            details[name] = {"seconds": round(self._seconds[name], 3), "epochs": epochs}
        parts = {"networks": sum(self._seconds[name] for name in self._recipes)}
        return Arm(tuple(trees), self._measure(trees), parts, details)

    def _multilabel(self) -> Arm:
        tree, epochs = self._joint
        return Arm((tree,), self._measure([tree]), {"network": self._seconds[NETWORK]}, {}, {"epochs": epochs})

    @cached_property
    def _joint(self) -> tuple[Tree, int]:
        """The network of all attributes; a random trunk is learnt as part of it."""
        names = list(self._samples)
        if self._data.spec.weights != RANDOM:
            return self._network(NETWORK, names, self._data.recipes.together(names))
        learnt = self._learnt_trunk
        return _as_tree(learnt.backbone.trunk, learnt.donor.units, learnt.heads), learnt.epochs

    @cached_property
    def _learnt_trunk(self) -> TrainedTrunk:
        with self._timed(NETWORK):
            learnt, _ = learn_trunk(
                copy.deepcopy(self._backbone),
                self._setups,
                self._samples,
                self._data.recipes.together,
                checkpoints_of=lambda *_: self._checkpoints(NETWORK),
                strict=True,
                progress=lambda _, epoch, of: self._tell(NETWORK, epoch, of),
            )
        return learnt

    def _network(self, part: str, names: Sequence[str], recipe: BranchSettings) -> tuple[Tree, int]:
        """Train one whole network for `names`; return it and its best epoch."""
        backbone, fresh = copy.deepcopy(self._backbone), self._data.spec.weights == RANDOM
        if fresh:
            reset(backbone, recipe.seed)
        seed_everything(recipe.seed, "heads of the trunk")
        model = one_for_all(backbone, {name: GuardedHead(name, self._setups[name].head()) for name in names})
        with self._timed(part):
            trained = train_joint(
                model,
                {name: self._samples[name] for name in names},
                recipe,
                name="trunk" if part == NETWORK else part,
                losses={name: loss for name in names if (loss := self._setups[name].loss)},
                checkpoints=self._checkpoints(part),
                progress=lambda _, epoch, of: self._tell(part, epoch, of),
            )
        units, heads = model.cpu().branch(names[0]).named_units(), {name: model.branch(name).head for name in names}
        return _as_tree(model.trunk, units, heads), trained.fit.best

    # -- the tree ----------------------------------------------------------------------------------

    @cached_property
    def _progressive(self) -> Arm:
        tree, cold = self._trunk(), self._cold
        # Features of images that are neither trained on nor validated with are no training cost.
        ids = np.unique(np.concatenate([labels.image_ids for labels in self._seen.values()])).tolist()
        pictures = replace(self._pictures, digests={i: self._pictures.digests[i] for i in ids}, failed={})
        reads = frozenset[Reads]().union(*(setup.reads() for setup in self._setups.values()))
        with self._timed(FEATURES):
            cold.features(tree.backbone, tree.digest, pictures, reads)
            if (twice := reads - {PYRAMID, PIXELS}) and any(setup.mirrors() for setup in self._setups.values()):
                cold.features(tree.backbone, tree.digest, pictures, twice, mirrored=True)
        branches, details = dict[str, KeyedBranch](), dict[str, dict[str, Any]]()
        for name, setup in self._setups.items():
            part = f"branch {name}"
            with self._timed(part):
                labels, reads, flip = self._seen[name], setup.reads(), setup.mirrors()
                grown, verdict = grow_branch(
                    cold.samples(labels, pictures, tree.backbone, tree.digest, reads, flip=flip),
                    tree.donors,
                    setup,
                    may_exit=tree.may_exit(name, setup.recipe),
                    trunk=tree.trunk,
                    features=cold.donor_features(tree.backbone, tree.digest, pictures),
                    checkpoints=self._checkpoints(part),
                    progress=progress_of(name, self._tell),
                )
            branches[name] = KeyedBranch.of(grown.branch)
            if verdict.promoted:
                tree = tree.with_branch(name, grown.branch)
            details[name] = {
                "depth": grown.depth,
                "donor": grown.donor,
                "seconds": round(self._seconds[part], 3),
                "promoted": verdict.promoted,
            }
        whole = Tree(tree.backbone.trunk, branches)
        parts = {"trunk": self._seconds[NETWORK]} if self._data.spec.weights == RANDOM else {}
        parts["features"] = self._seconds[FEATURES]
        parts["branches"] = sum(self._seconds[f"branch {name}"] for name in branches)
        return Arm((whole,), self._measure([whole]), parts, details)

    def _trunk(self) -> GrowingTree:
        """Return the trunk to grow on, as a sync has it."""
        if self._data.spec.weights == RANDOM:
            return GrowingTree.on(copy.deepcopy(self._learnt_trunk.backbone), self._learnt_trunk.donor)
        backbone = copy.deepcopy(self._backbone)
        return GrowingTree.on(backbone, Donor(BACKBONE, backbone.upper))

    def _finetuned(self) -> Arm:
        begun = self._progressive
        begun_tree = begun.trees[0]
        with self._timed(JOINT):
            done = finetune(
                JointModel(*copy.deepcopy((begun_tree.trunk, begun_tree.keyed_branches()))).requires_grad_(True),
                self._samples,
                {name: found.probabilities["val"] for name, found in begun.answered.items()},
                self._teachers(begun_tree),
                {
                    name: replace(setup, head=setup.exit_head) if begun.details[name]["depth"] == EXIT else setup
                    for name, setup in self._setups.items()
                },
                self._data.recipes.together(self._samples),
                checkpoints=self._checkpoints(JOINT),
                progress=self._tell,
            )
        branches = {name: KeyedBranch.of(refined.branch) for name, refined in done.branches.items()}
        if kept := done.lost if done.passed else []:
            former = begun_tree.keyed_branches()
            branches |= {name: on_own_trunk(former[name], begun_tree.trunk, "former trunk") for name in kept}
        tree = Tree(done.trunk, branches)
        answered = self._measure([tree])
        parts = {**begun.parts, "finetune": self._seconds[JOINT]}
        details = {name: begun.details[name] | _told(refined) for name, refined in done.branches.items()}
        said: dict[str, Any] = {"promoted": done.passed, "epochs": done.fit.best, "kept": kept}
        if said["promoted"]:
            return Arm((tree,), answered, parts, details, said)
        said["ungated"] = {name: found.report["macro_f1"] for name, found in answered.items()}
        return Arm(begun.trees, begun.answered, parts, details, said)

    def _teachers(self, tree: Tree) -> dict[str, Teacher]:
        """Return what the tree says of the training images that each attribute applies to, labelled or not."""
        labels = {name: part.labels.part("train") for name, part in self._samples.items()}
        ids = np.unique(np.concatenate([part.image_ids for part in labels.values()]))
        missing, store = self._data.catalog.labels.missing, self._pictures.pixels
        taught = {name: np.union1d(part.image_ids, np.intersect1d(ids, missing(name))) for name, part in labels.items()}
        rows = {name: self._pictures.rows(store, mine.tolist()) for name, mine in taught.items()}
        return teach(tree, store.records(), rows, self._data.device)

    # -- common ------------------------------------------------------------------------------------

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self._seconds[part] = time.monotonic() - begun

    def _measure(self, trees: Sequence[Tree]) -> dict[str, Answered]:
        return measure(trees, self._samples, self._recipes, self._types, self._data.device)

    def _checkpoints(self, part: str) -> Checkpoints:
        return Checkpoints(self.run.folder, part.replace(" ", "-"), {})


def _as_tree(trunk: Trunk, units: Mapping[str, nn.Module], heads: Mapping[str, nn.Module]) -> Tree:
    """Return a network as the tree it is: `units` shared by all `heads`, which are taken out of their guards."""
    bare = {name: head.head for name, head in heads.items() if isinstance(head, GuardedHead)}
    return Tree(trunk, {name: KeyedBranch(Branch(units, head), tuple(units)) for name, head in bare.items()})


def _told(refined: Refined) -> dict[str, Any]:
    """Return what is said of a finetuned branch: its gate, and how it was grown again if it was."""
    gate = {"promoted": refined.verdict.promoted, "reason": refined.verdict.reason}
    again = refined.regrown
    return {"gate": gate, "regrown": {"depth": again.depth, "donor": again.donor} if again else None}
