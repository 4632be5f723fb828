"""What the doctor looks at: plugins, settings, imports, heads on the configured backbone, the catalogue's labels."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

from ..errors import AttributreeError, CatalogError, ConfigError, PluginError, TrunkError
from ..plugins import LoadedPlugins
from ..plugins.hookspecs import attributree_branch_head
from ..settings.models import Settings
from ..settings.recipes import Recipes
from ..sync.shared import shared_pictures
from ..workspace import Workspace
from .checks import Symptoms
from .imports import time_imports


def examine(workspace: Workspace) -> Symptoms:
    """Return everything that `diagnose` decides from.

    Imports torch and builds the backbone with random weights, since only its shapes matter. Each plugin is imported
    once more in a process of its own. A catalogue that cannot be opened is a symptom, not an error.
    """
    plugins, settings = workspace.plugins, workspace.settings
    found = Symptoms(
        settings=settings,
        plugins=plugins.plugins,
        attributes=plugins.attributes,
        unmatched=plugins.unmatched,
        without_range=_without_range(plugins),
        imports=time_imports(plugins.plugins),
    )
    try:
        found = replace(found, type_conflicts=workspace.article_types.conflicts())
        plugins, labels = workspace.declared, workspace.labels
        found = replace(
            found,
            attributes=plugins.attributes,
            coverage={name: labels.coverage(attribute) for name, attribute in plugins.attributes.items()},
            splits=labels.products_per_split(),
            shared=shared_pictures(workspace.catalog),
            root_warnings=tuple(labels.root_warnings()),
            columns={name: n for name, n in labels.undeclared().items() if name not in plugins.attributes},
            unmapped=workspace.unmapped_types(),
        )
    except ConfigError as error:
        found = replace(found, type_error=str(error).removeprefix("plugins.toml: "))
    except CatalogError as error:
        found = replace(found, catalog_error=str(error))
    return replace(found, **_try_heads(settings, plugins))


def _without_range(plugins: LoadedPlugins) -> tuple[str, ...]:
    """Return the labels of the working plugins that do not say which hook API they were written for."""
    asked = {implementation.plugin for implementation in plugins.manager.hook.attributree_api.get_hookimpls()}
    silent = {name for name, module in plugins.manager.list_name_plugin() if module not in asked}
    return tuple(info.label for info in plugins.plugins if info.status == "ok" and silent & {info.name, info.label})


def _try_heads(settings: Settings, plugins: LoadedPlugins) -> dict[str, Any]:
    """Build the head of every attribute for the configured backbone and run zeros through it; return symptoms."""
    if not plugins.attributes:
        return {}
    from ..nn.heads import HeadFactory  # torch
    from ..nn.sources import find_weights  # torch
    from ..nn.trunk import TrunkSpec, build_backbone  # torch

    spec = TrunkSpec(**settings.trunk.model_dump())
    try:
        find_weights(spec.backbone, spec.weights, plugins)
        backbone = build_backbone(spec, load_weights=False)
    except TrunkError as error:
        return {"trunk_error": str(error)}
    errors, owners = dict[str, str](), dict[str, str]()
    for name, attribute in plugins.attributes.items():
        picked = Recipes.read(settings, plugins).of(name).head
        try:
            for above in (False, True):
                HeadFactory(attribute, backbone.width(above), plugins, picked)()
        except AttributreeError as error:
            errors[name] = str(error)
        with suppress(PluginError):  # a head that fails and is not used is no finding
            if brought := plugins.first(attributree_branch_head, attribute, in_features=backbone.out_channels):
                owners[name] = brought.plugin.owner
    return {"upper_units": len(backbone.upper), "head_errors": errors, "head_owners": owners}
