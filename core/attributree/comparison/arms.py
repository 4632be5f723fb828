"""The four ways to a catalogue's attributes, trained on the same images, labels and budget."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np

from ..errors import TrainingError
from ..inference import Pictures
from ..nn import (
    MAPS,
    PYRAMID,
    RANDOM,
    Backbone,
    Branch,
    Crown,
    HeadFactory,
    Limb,
    Tree,
    build_backbone,
    weights_of,
)
from ..registry.artifacts import digest_of
from ..registry.trees import unit_digests
from ..reports import Progress
from ..schema import SPLITS
from ..settings.models import EXIT, NOT_IN_DIGEST, BranchSettings
from ..sync.ground import Ground
from ..sync.train import BACKBONE
from ..training import (
    Checkpoints,
    Donor,
    GuardedHead,
    GuardedLoss,
    HeadError,
    Refined,
    Samples,
    Teacher,
    finetune,
    gate_new,
    grow,
    logits_at,
    one_for_all,
    reset,
    seed_everything,
    train_joint,
)
from ..training.grow import UNIT_RATE
from ..training.joint import Rates
from . import FINETUNED, INDIVIDUAL, MULTILABEL, PROGRESSIVE
from .measure import Answered, measure
from .stopwatch import Stopwatch

NETWORK = "network of all attributes"
FEATURES = "trunk features"
JOINT = "finetuning"
#: What is computed of the trunk's features, for every branch that there may be.
READS = (MAPS, PYRAMID)


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

    `samples` by attribute, pixels of all splits; `cold` is the same ground on an empty cache, so that the trunk's
    features are computed, and their seconds counted, whatever the catalogue has computed before. `run` holds what a
    comparison that was broken off is taken up from.
    """

    def __init__(
        self,
        ground: Ground,
        cold: Ground,
        samples: Mapping[str, Samples],
        pictures: Pictures,
        article_types: Mapping[int, str],
        progress: Progress | None = None,
    ) -> None:
        self._ground, self._cold = ground, cold
        self._samples, self._pictures = samples, pictures
        self._types = article_types
        self._recipes = {name: ground.settings.for_attribute(name) for name in samples}
        self._backbone = build_backbone(ground.spec)  # as every arm begins; each works on a copy
        self.run = ground.checkpoints(
            f"compare-{ground.settings.training.seed}",
            trunk=ground.settings.trunk_identity(),
            recipes={name: r.model_dump(exclude=set(NOT_IN_DIGEST)) for name, r in self._recipes.items()},
            labels={name: part.labels.fingerprint for name, part in samples.items()},
            heads={name: repr(self._new_head(name)()) for name in samples},
        )
        self.watch = Stopwatch(self.run.folder)
        self._tell = self.watch.ticking(progress)

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
            details[name] = {"seconds": round(self.watch.seconds(name), 3), "epochs": epochs}
        parts = {"networks": sum(self.watch.seconds(name) for name in self._recipes)}
        return Arm(tuple(trees), self._measure(trees), parts, details)

    def _multilabel(self) -> Arm:
        tree, epochs = self._joint
        parts = {"network": self.watch.seconds(NETWORK)}
        return Arm((tree,), self._measure([tree]), parts, {}, {"epochs": epochs})

    @cached_property
    def _joint(self) -> tuple[Tree, int]:
        """The network of all attributes; a random trunk is learnt as part of it, by sync-catalog too."""
        names = list(self._samples)
        return self._network(NETWORK, names, self._ground.recipe(names))

    def _network(self, part: str, names: Sequence[str], recipe: BranchSettings) -> tuple[Tree, int]:
        """Train one whole network for `names`; return it and its best epoch.

        Weights that were learnt before take the same share of the learning rate as a branch's units do.
        """
        backbone, fresh = copy.deepcopy(self._backbone), self._ground.spec.weights == RANDOM
        if fresh:
            reset(backbone, recipe.seed)
        seed_everything(recipe.seed, "heads of the trunk")
        heads = {name: GuardedHead(name, self._new_head(name)()) for name in names}
        model = one_for_all(backbone, heads)
        with self.watch.part(part):
            trained = train_joint(
                model,
                {name: self._samples[name] for name in names},
                recipe,
                name="trunk" if part == NETWORK else part,
                rates=Rates() if fresh else Rates(body=UNIT_RATE),
                losses=self._losses(names),
                checkpoints=self._checkpoints(part),
                progress=lambda _, epoch, of: self._tell(part, epoch, of),
            )
        return _as_tree(model.cpu()), trained.fit.best

    # -- the tree ----------------------------------------------------------------------------------

    @cached_property
    def _progressive(self) -> Arm:
        backbone, seeds = self._trunk()
        trunk = digest_of(weights_of(backbone.trunk))
        learnt = self._learnt()
        with self.watch.part(FEATURES):
            for mirrored in sorted({False, *(recipe.flip for recipe in self._recipes.values())}):
                self._cold.features(backbone, trunk, learnt, READS, mirrored=mirrored)
        donors, limbs, details = list(seeds), dict[str, Limb](), dict[str, dict[str, Any]]()
        for name, recipe in self._recipes.items():
            part = f"branch {name}"
            with self.watch.part(part):
                labels = self._samples[name].labels
                labels = labels.take(labels.split != SPLITS.index("test"))
                grown = grow(
                    self._cold.samples(labels, learnt, backbone, trunk, READS, flip=recipe.flip),
                    donors,
                    self._new_head(name),
                    recipe,
                    new_exit=self._new_head(name, at_exit=True) if self._may_exit(recipe, limbs) else None,
                    tops=self._cold.tops(backbone, trunk, learnt),
                    loss=self._losses([name]).get(name),
                    checkpoints=self._checkpoints(part),
                    progress=partial(self._tell_of, name),
                )
            verdict = gate_new(grown, recipe)
            limbs[name] = _limb(grown.branch)
            if verdict.promoted and grown.depth != EXIT:
                donors.append(Donor(name, dict(grown.branch.units.items()), limbs[name].keys))
            details[name] = {
                "depth": grown.depth,
                "donor": grown.donor,
                "seconds": round(self.watch.seconds(part), 3),
                "promoted": verdict.promoted,
            }
        tree = Tree(backbone.trunk, limbs)
        learning = {"trunk": self.watch.seconds(NETWORK)} if self._ground.spec.weights == RANDOM else {}
        parts = {
            **learning,
            "features": self.watch.seconds(FEATURES),
            "branches": sum(self.watch.seconds(f"branch {name}") for name in limbs),
        }
        return Arm((tree,), self._measure([tree]), parts, details)

    def _trunk(self) -> tuple[Backbone, list[Donor]]:
        """Return the backbone whose trunk is frozen, and what a first branch may start from."""
        backbone = copy.deepcopy(self._backbone)
        if self._ground.spec.weights != RANDOM:
            return backbone, [Donor(BACKBONE, backbone.upper, unit_digests(backbone.upper))]
        network, _ = self._joint
        backbone.trunk.load_state_dict(network.trunk.state_dict())
        units = dict(network.branch(next(iter(self._samples))).units.items())
        return backbone, [Donor("trunk", units, unit_digests(units))]

    def _learnt(self) -> Pictures:
        """Return the pictures that are trained on or validated with: features of the others are no training cost."""
        ids = np.unique(
            np.concatenate(
                [part.labels.image_ids[part.labels.split != SPLITS.index("test")] for part in self._samples.values()]
            )
        )
        digests = {i: self._pictures.digests[i] for i in ids.tolist()}
        return Pictures(self._pictures.pixels, digests, {})

    def _finetuned(self) -> Arm:
        begun = self._progressive
        begun_tree = begun.trees[0]
        model = Crown(*copy.deepcopy((begun_tree.trunk, begun_tree.limbs()))).requires_grad_(True)
        with self.watch.part(JOINT):
            done = finetune(
                model,
                self._samples,
                {name: found.probabilities["val"] for name, found in begun.answered.items()},
                self._teachers(begun_tree),
                {name: self._new_head(name, at_exit=begun.details[name]["depth"] == EXIT) for name in self._samples},
                self._ground.recipe(list(self._samples)),
                self._recipes,
                losses=self._losses(self._samples),
                checkpoints=self._checkpoints(JOINT),
                progress=self._tell,
            )
        tree = Tree(done.trunk, {name: _limb(refined.branch) for name, refined in done.branches.items()})
        answered = self._measure([tree])
        parts = {**begun.parts, "finetune": self.watch.seconds(JOINT)}
        details = {name: begun.details[name] | _told(refined) for name, refined in done.branches.items()}
        said: dict[str, Any] = {"promoted": not done.lost, "epochs": done.fit.best}
        if said["promoted"]:
            return Arm((tree,), answered, parts, details, said)
        said["ungated"] = {name: found.macro_f1 for name, found in answered.items()}
        return Arm(begun.trees, begun.answered, parts, details, said)

    def _teachers(self, tree: Tree) -> dict[str, Teacher]:
        """Return what the tree says of the training images that each attribute applies to, labelled or not."""
        labels = {name: part.labels.part("train") for name, part in self._samples.items()}
        ids = np.unique(np.concatenate([part.image_ids for part in labels.values()]))
        spoken = {
            name: np.union1d(part.image_ids, np.intersect1d(ids, self._ground.catalog.labels.missing(name)))
            for name, part in labels.items()
        }
        store = self._pictures.pixels
        rows = {name: self._pictures.rows(store, mine.tolist()) for name, mine in spoken.items()}
        every, device = np.unique(np.concatenate(list(rows.values()))), self._ground.device
        logits = logits_at(tree.to(device), store.records(), every, list(rows), device)
        return {name: Teacher(mine, logits[name][np.searchsorted(every, mine)]) for name, mine in rows.items()}

    # -- common ------------------------------------------------------------------------------------

    def _tell_of(self, name: str, what: str, epoch: int, of: int) -> None:
        self._tell(f"{name}: {what}", epoch, of)

    def _new_head(self, name: str, *, at_exit: bool = False) -> HeadFactory:
        attribute, plugins = self._samples[name].labels.attribute, self._ground.plugins
        return HeadFactory.of(attribute, self._backbone, plugins, self._recipes[name], at_exit)

    def _may_exit(self, recipe: BranchSettings, limbs: Mapping[str, Limb]) -> bool:
        """Return whether a sync would let a branch have no units; see `sync.train`."""
        if recipe.depth != "auto" or self._ground.spec.weights != RANDOM:
            return recipe.depth in ("auto", EXIT)
        return any(limb.keys for limb in limbs.values())

    def _losses(self, names: Iterable[str]) -> dict[str, GuardedLoss]:
        return self._ground.losses(self._samples[name].labels.attribute for name in names)

    def _measure(self, trees: Sequence[Tree]) -> dict[str, Answered]:
        return measure(trees, self._samples, self._recipes, self._types, self._ground.device)

    def _checkpoints(self, part: str) -> Checkpoints:
        return Checkpoints(self.run.folder, part.replace(" ", "-"), {})


def _as_tree(model: Crown) -> Tree:
    """Return a trained network as the tree it is, its heads out of their guards."""
    limbs = {}
    for name, limb in model.limbs().items():
        head = limb.branch.head
        assert isinstance(head, GuardedHead)
        limbs[name] = Limb(Branch(dict(limb.branch.units.items()), head.head), limb.keys)
    return Tree(model.trunk, limbs)


def _told(refined: Refined) -> dict[str, Any]:
    """Return what is said of a finetuned branch: its gate, and how it was grown again if it was."""
    gate = {"promoted": refined.verdict.promoted, "reason": refined.verdict.reason}
    again = refined.regrown
    return {"gate": gate, "regrown": {"depth": again.depth, "donor": again.donor} if again else None}


def _limb(branch: Branch) -> Limb:
    return Limb(branch, unit_digests(dict(branch.units.items())))
