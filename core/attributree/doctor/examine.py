"""What the doctor looks at: plugins, settings, imports, heads on the configured backbone, the catalogue's labels."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace

from ..errors import AttributreeError, CatalogError, PluginError, TrunkError
from ..plugins import LoadedPlugins
from ..plugins.hookspecs import attributree_branch_head
from ..settings.models import Settings
from ..settings.recipes import Recipes
from ..workspace import Workspace
from .checks import Symptoms
from .imports import time_imports


def examine(workspace: Workspace) -> Symptoms:
    """Return everything that `diagnose` decides from.

    Imports torch and builds the backbone with random weights, since only its shapes matter. Each plugin is imported
    once more in a process of its own. A catalogue that is not there is no matter; one that cannot be opened is noted.
    """
    plugins, settings, catalog_error = workspace.plugins, workspace.settings, None
    found = Symptoms(
        settings=settings,
        plugins=plugins.plugins,
        attributes=plugins.attributes,
        unmatched=plugins.unmatched,
        without_range=_without_range(plugins),
        imports=time_imports(plugins.plugins),
    )
    try:
        plugins = workspace.declared
        catalog = workspace.catalog
        found = replace(
            found,
            attributes=plugins.attributes,
            coverage={name: catalog.labels.coverage(attribute) for name, attribute in plugins.attributes.items()},
            columns={name: n for name, n in catalog.labels.undeclared().items() if name not in plugins.attributes},
        )
    except CatalogError as error:
        catalog_error = str(error)
    trial = _try_heads(settings, plugins)
    return replace(
        found,
        catalog_error=catalog_error,
        trunk_error=trial.trunk_error,
        upper_units=trial.upper_units,
        head_errors=trial.errors,
        head_owners=trial.owners,
    )


def _without_range(plugins: LoadedPlugins) -> tuple[str, ...]:
    """Return the labels of the working plugins that do not say which hook API they were written for."""
    asked = {implementation.plugin for implementation in plugins.manager.hook.attributree_api.get_hookimpls()}
    silent = {name for name, module in plugins.manager.list_name_plugin() if module not in asked}
    return tuple(info.label for info in plugins.plugins if info.status == "ok" and silent & {info.name, info.label})


@dataclass
class _HeadTrial:
    trunk_error: str | None = None
    upper_units: int | None = None
    errors: dict[str, str] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)


def _try_heads(settings: Settings, plugins: LoadedPlugins) -> _HeadTrial:
    """Build the head of every attribute for the configured backbone and run zeros through it."""
    if not plugins.attributes:
        return _HeadTrial()
    from ..nn.heads import HeadFactory  # torch
    from ..nn.trunk import TrunkSpec, build_backbone  # torch

    try:
        backbone = build_backbone(TrunkSpec(**settings.trunk.model_dump()), load_weights=False)
    except TrunkError as error:
        return _HeadTrial(trunk_error=str(error))
    trial = _HeadTrial(upper_units=len(backbone.upper))
    for name, attribute in plugins.attributes.items():
        picked = Recipes.read(settings, plugins).of(name).head
        try:
            for units in (0, len(backbone.upper)):
                HeadFactory(attribute, backbone.width(units), plugins, picked)()
        except AttributreeError as error:
            trial.errors[name] = str(error)
        with suppress(PluginError):  # one that fails and is not used is no news
            brought = plugins.first(attributree_branch_head, attribute, in_features=backbone.out_channels)
            if brought:
                trial.owners[name] = brought.plugin.owner
    return trial
