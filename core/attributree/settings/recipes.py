"""Recipes: how each attribute trains, by the settings and by what plugins say of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Self

from ..plugins import LoadedPlugins
from ..plugins.hookspecs import Augmentation, attributree_loss
from .models import NOT_IN_DIGEST, STANDARD_LOSS, AttributeSettings, BranchSettings, Settings


@dataclass(frozen=True)
class Recipes:
    """The training settings of every attribute.

    `losses` names the plugins that are asked for an attribute's loss, `augmentations` what plugins let be done to its
    images. A setting can switch an augmentation off, never on where the plugin says that it is wrong.
    """

    settings: Settings
    losses: Mapping[str, str] = field(default_factory=dict)
    augmentations: Mapping[str, Augmentation] = field(default_factory=dict)

    @classmethod
    def read(cls, settings: Settings, plugins: LoadedPlugins) -> Self:
        """Return the recipes of all that `plugins` declare. Calls no plugin and imports no torch."""
        losses = {name: plugins.who_is_asked(attributree_loss, name) for name in plugins.attributes}
        return cls(settings, losses, plugins.augmentations)

    def of(self, name: str) -> BranchSettings:
        """Return how attribute `name` trains: [training], with what [attributes.NAME] and plugins change."""
        own = self.settings.attributes.get(name, AttributeSettings()).model_dump(exclude_none=True)
        recipe = BranchSettings(**{**self.settings.training.model_dump(), **own})
        allowed = self.augmentations.get(name, Augmentation())
        loss = self.losses.get(name) or STANDARD_LOSS
        flip, crop = recipe.flip and allowed.flip, recipe.crop and allowed.crop
        return recipe.model_copy(update={"loss": loss, "flip": flip, "crop": crop})

    def together(self, names: Collection[str]) -> BranchSettings:
        """Return how `names` train as one model: mirrored and shifted only if that is right for each of them."""
        recipe, own = self.of(""), [self.of(name) for name in names]
        flip, crop = recipe.flip and all(r.flip for r in own), recipe.crop and all(r.crop for r in own)
        return recipe.model_copy(update={"flip": flip, "crop": crop})

    def digest(self, name: str) -> str:
        """Return the SHA-256 of every setting that changes the outcome of training attribute `name`.

        Left out: what decides when to train (`min_labels`, `retrain_*`) or how fast (`workers`, `device`).
        """
        identity = [self.settings.trunk_identity(), outcome_settings(self.of(name))]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def outcome_settings(recipe: BranchSettings) -> dict[str, object]:
    """Return the settings of a recipe that change what comes out of a training."""
    return recipe.model_dump(exclude=set(NOT_IN_DIGEST))
