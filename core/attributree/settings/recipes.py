"""Settings as plugins change them."""

from __future__ import annotations

from ..plugins import LoadedPlugins
from ..plugins.hookspecs import attributree_loss
from .models import Settings


def tuned(settings: Settings, plugins: LoadedPlugins) -> Settings:
    """Return the settings with what plugins say about training their attributes. Imports no torch.

    Plans and training read the same, so another loss or augmentation is another configuration of the attribute.
    """
    losses = {name: plugins.who_is_asked(attributree_loss, name) for name in plugins.attributes}
    return settings.with_plugins(losses, plugins.augmentations)
