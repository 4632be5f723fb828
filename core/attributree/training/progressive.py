"""Progressive growing: a frozen trunk and branches that are grown on it in turn. Knows no database.

    tree = GrowingTree.on(backbone, Donor(BACKBONE, backbone.upper))      # or learn_trunk, if its weights are random
    grown, verdict = grow_branch(samples, tree.donors, setup, may_exit=tree.may_exit(name, recipe), trunk=tree.trunk)
    tree = tree.with_branch(name, grown.branch)                           # the next one may start from its units

sync-catalog, finetune and compare grow through here, so they grow the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import nn

from ..answers import Floats
from ..errors import TrainingError
from ..nn.heads import HeadFactory
from ..nn.losses import build_loss
from ..nn.sources import RANDOM
from ..nn.tree import Branch, KeyedBranch, digest_of, unit_digests, weights_of
from ..nn.trunk import MAPS, PIXELS, PYRAMID, Backbone, Reads, Trunk
from ..plugins import LoadedPlugins
from ..reports import Progress
from ..schema import Attribute
from ..settings.models import EXIT, NETWORK, BranchSettings
from .checkpoint import Checkpoints
from .data import Samples
from .donors import Donor, DonorFeatures
from .executors import Executor, Inline
from .gate import Verdict, gate_new, gate_replaced
from .grow import Grown, grow
from .guard import GuardedHead, GuardedLoss, HeadError
from .linear import is_linear
from .loop import seed_everything
from .trunk import TrainedTrunk, train_trunk

#: What a donor that is the backbone's own pretrained stages is called.
BACKBONE = "backbone"


@dataclass(frozen=True, eq=False)
class BranchSetup:
    """How a branch of `attribute` is made: its settings, its head with units and without any, a plugin's loss."""

    attribute: Attribute
    recipe: BranchSettings
    head: HeadFactory
    exit_head: HeadFactory
    loss: GuardedLoss | None = None
    below: Reads = MAPS  # what upper units read of the trunk

    @classmethod
    def of(
        cls, attribute: Attribute, backbone: Backbone, plugins: LoadedPlugins, recipe: BranchSettings
    ) -> BranchSetup:
        """Return the setup of new branches on `backbone`. Raises PluginError if a plugin's loss is none."""
        head, exit_head = (HeadFactory.of(attribute, backbone, plugins, recipe, at_exit) for at_exit in (False, True))
        loss = build_loss(attribute, plugins)
        guarded = GuardedLoss(attribute.name, loss) if loss else None
        return cls(attribute, recipe, head, exit_head, guarded, backbone.trunk.below)

    def reads(self) -> frozenset[Reads]:
        """Return what a growth needs of the trunk's features.

        With depth "auto" all, even if there may be no exit this time: the next branch reads them, and the trunk is
        run once.
        """
        if self.recipe.depth == EXIT:
            return frozenset((self._at_exit(),))
        if self.recipe.depth == "auto":
            return frozenset((self.below, PYRAMID, self._at_exit(), PIXELS))
        return frozenset((self.below, PIXELS) if self.recipe.depth == NETWORK else (self.below,))

    def mirrors(self) -> bool:
        """Return whether a growth reads mirrored features: where the attribute allows it and units are trained on them.

        With depth "auto" it reads none: they would double the price of finding out what suffices.
        """
        if self.recipe.depth in ("auto", NETWORK):
            return False
        alone = {EXIT: self.exit_head, "head": self.head}.get(self.recipe.depth)
        return self.recipe.flip and not (alone and is_linear(alone()))

    def _at_exit(self) -> Reads:
        return Branch({}, self.exit_head()).reads


@dataclass(frozen=True, eq=False)
class GrowingTree:
    """A frozen trunk and what the next branch may build on.

    `digest` names the content of the trunk. `donors` are the units that a branch may start from: the backbone's own
    pretrained stages, or those that a random trunk was trained with, and those of the branches. `with_units` names
    the attributes whose branch has units.
    """

    backbone: Backbone
    digest: str
    donors: tuple[Donor, ...]
    with_units: frozenset[str] = field(default_factory=frozenset)

    @property
    def trunk(self) -> Trunk:
        """The trunk alone."""
        return self.backbone.trunk

    @classmethod
    def on(cls, backbone: Backbone, *donors: Donor) -> GrowingTree:
        """Return a tree without branches."""
        named = tuple(replace(donor, digests=unit_digests(donor.units)) for donor in donors)
        return cls(backbone, digest_of(weights_of(backbone.trunk)), named)

    def with_branch(self, name: str, branch: Branch) -> GrowingTree:
        """Return the tree with one more branch. One without units above this trunk is no donor."""
        if not branch.on_trunk:
            return replace(self, with_units=self.with_units - {name})
        return self.with_donor(Donor.of(name, KeyedBranch.of(branch)))

    def with_donor(self, donor: Donor) -> GrowingTree:
        """Return the tree with the units of one more branch."""
        others = {other.name: other for other in self.donors}
        return replace(
            self, donors=tuple({**others, donor.name: donor}.values()), with_units=self.with_units | {donor.name}
        )

    def may_exit(self, name: str, recipe: BranchSettings) -> bool:
        """Return whether `name` may have a branch without units, because its settings say so, or others have some.

        The upper stages that a random trunk was trained with live on in branches alone: one must keep them.
        """
        if recipe.depth != "auto" or self.backbone.spec.weights != RANDOM:
            return recipe.depth in ("auto", EXIT)
        return bool(self.with_units - {name})


def grow_branch(
    samples: Mapping[Reads, Samples],
    donors: Sequence[Donor],
    setup: BranchSetup,
    *,
    may_exit: bool,
    trunk: Trunk | None = None,
    live: Callable[[], Floats] | None = None,
    features: DonorFeatures | None = None,
    executor: Executor | None = None,
    checkpoints: Checkpoints | None = None,
    progress: Progress | None = None,
) -> tuple[Grown, Verdict]:
    """Grow a branch on `samples` of the trunk's features, all splits, and gate it.

    `live` returns the probabilities (N, C) that the branch to be replaced gives the unambiguous validation samples;
    without one, the branch is measured against the commonest answer. `features`: where the donors' come from; `trunk`:
    what a whole network begins at.
    Raises what `grow` raises.
    """
    grown = (executor or Inline()).run(
        grow,
        samples,
        list(donors),
        setup.head,
        setup.recipe,
        new_exit=setup.exit_head if may_exit else None,
        trunk=trunk,
        features=features,
        loss=setup.loss,
        checkpoints=checkpoints,
        progress=progress,
    )
    if live is None:
        return grown, gate_new(grown, setup.recipe)
    val = next(iter(samples.values())).labels.part("val", labelled_only=True)
    return grown, gate_replaced(val.attribute.labels, live(), grown.answers, val.target, setup.recipe)


def learn_trunk(
    backbone: Backbone,
    setups: Mapping[str, BranchSetup],
    samples: Mapping[str, Samples],
    recipe_of: Callable[[Sequence[str]], BranchSettings],
    *,
    checkpoints_of: Callable[[BranchSettings, Mapping[str, nn.Module]], Checkpoints],
    failed: Mapping[str, str] | None = None,
    strict: bool = False,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> tuple[TrainedTrunk, Checkpoints]:
    """Train a backbone from random weights on `samples` (pixels, by attribute); return its trunk, and the checkpoints.

    An attribute whose head or loss fails is left out and the training begins again without it, unless `strict`: then
    its HeadError comes through. `recipe_of` says how attributes train together, `checkpoints_of` where to that recipe
    and those heads are kept. Raises TrainingError if no attribute is left; it names the reasons, and those of `failed`.
    """
    left, reasons = list(samples), dict(failed or {})
    while left:
        recipe = recipe_of(left)
        seed_everything(recipe.seed, "heads of the trunk")
        heads = {name: GuardedHead(name, setups[name].head()) for name in left}
        losses = {name: loss for name in left if (loss := setups[name].loss)}
        checkpoints = checkpoints_of(recipe, heads)
        try:
            trained = (executor or Inline()).run(
                train_trunk,
                backbone,
                {name: samples[name] for name in left},
                heads,
                recipe,
                losses=losses,
                checkpoints=checkpoints,
                progress=progress,
            )
            return trained, checkpoints
        except HeadError as error:
            if strict:
                raise
            reasons[error.attribute] = str(error)
            left.remove(error.attribute)
    said = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    raise TrainingError(f"no attribute can train the trunk ({said}); nothing was promoted")
