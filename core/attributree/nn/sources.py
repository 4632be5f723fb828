"""Where a backbone's weights come from: timm's hub, nowhere, a plugin, a file, or a folder as timm writes one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import timm
from torch import Tensor

from ..errors import TrunkError
from ..plugins import LoadedPlugins
from ..plugins.calls import BrokenError
from ..plugins.offers import Offer, no_such_weights, offered_weights
from ..settings.models import LOCAL_DIR, weights_place
from .cut import architecture
from .weights import Fit, metadata_of, pick_weights, read_weights

#: `weights` that are not a path.
HUB, RANDOM = "hub", "random"
#: What says how images are prepared for weights.
_PREPARED = ("mean", "std", "interpolation")
#: The files of a folder that timm's `save_for_hf` writes, and a download of its hub has.
CONFIG_FILE: Final = "config.json"
WEIGHTS_FILE: Final = "model.safetensors"


class Read(Protocol):
    """Returns the tensors of `expected`, under its names; `fit` fits one of another image size."""

    def __call__(self, backbone: str, expected: Mapping[str, Tensor], fit: Fit | None = None) -> dict[str, Tensor]: ...


@dataclass(frozen=True, eq=False)
class Source:
    """Weights that were found and are not read yet.

    `origin` says in reports which they are. `prepared` holds mean, std and interpolation as far as the source knows
    them. `read` is None where timm itself makes the weights, as for the hub's and for random ones.
    """

    origin: str
    prepared: Mapping[str, Any] = field(default_factory=dict)
    read: Read | None = None


def find_weights(backbone: str, weights: str, plugins: LoadedPlugins | None = None) -> Source:
    """Return where `trunk -> weights` come from; nothing is downloaded or read.

    Raises TrunkError if there are no such weights, or they are of another backbone: what, and what to type.
    """
    if weights == RANDOM:
        return Source(RANDOM)
    if weights == HUB:
        config = timm.get_pretrained_cfg(backbone)
        return Source(f"hub: {(config and (config.hf_hub_id or config.url)) or backbone}")
    place = weights_place(weights)
    if place is None:
        return _offered(backbone, weights, plugins)
    prefix, path = place
    if prefix == LOCAL_DIR:
        return _folder(backbone, Path(path))
    said = metadata_of(Path(path)) if Path(path).suffix == ".safetensors" else {}
    return Source(path, _from_metadata(said), partial(read_weights, Path(path)))


def prepared_as_timm_has_it(backbone: str) -> Mapping[str, Any]:
    """Return mean, std and interpolation of timm's configuration of a backbone; nothing where it has none."""
    config = timm.get_pretrained_cfg(backbone)
    return {part: getattr(config, part) for part in _PREPARED} if config else {}


def _prepared(config: Mapping[str, Any]) -> dict[str, Any]:
    return {part: config.get(part) for part in _PREPARED}


def _from_metadata(said: Mapping[str, str]) -> dict[str, Any]:
    """Return what `attributree pretrain` wrote of the images that its weights were learnt from."""
    try:
        return _prepared(json.loads(said.get("prepared", "{}")))
    except (ValueError, AttributeError):
        return {}


# -- a plugin's ------------------------------------------------------------------------------------


def _offered(backbone: str, name: str, plugins: LoadedPlugins | None) -> Source:
    offers, problems = offered_weights(plugins)
    if name not in offers:
        raise TrunkError(no_such_weights(name, offers, problems))
    offer = offers[name]
    if offer.weights.backbone != architecture(backbone):
        raise TrunkError(
            f"trunk -> weights: {name!r} are weights of {offer.weights.backbone}, not of {backbone}; write "
            f'backbone = "{offer.weights.backbone}"'
        )
    version = f" {offer.plugin.version}" if offer.plugin.version else ""
    origin = f"{offer.plugin.owner}{version}, sha256 {offer.weights.sha256[:12]}"
    prepared = {part: getattr(offer.weights, part) for part in ("mean", "std", "interpolation")}
    return Source(origin, prepared, partial(read_offer, offer))


def read_offer(
    offer: Offer, backbone: str, expected: Mapping[str, Tensor], fit: Fit | None = None
) -> dict[str, Tensor]:
    """Return the tensors of `expected` out of a plugin's weights, whose file is checked against its digest first.

    Raises TrunkError if the file is not what the plugin says, or what it reads is of another architecture.
    """
    weights = offer.weights
    where = f"trunk -> weights: {weights.name!r} of {offer.plugin.label}"
    check_digest(offer)
    if weights.read is None:
        return read_weights(weights.file, backbone, expected, fit)
    try:
        found = offer.tensors()
        shapes = {name: tuple(tensor.shape) for name, tensor in found.items()}
    except BrokenError as error:
        raise TrunkError(f"{where}: {error}") from error
    except Exception as error:
        raise TrunkError(f"{where}: what its `read` returned are no tensors by name: {error}") from error
    return pick_weights(where, backbone, expected, shapes, found.__getitem__, fit)


def check_digest(offer: Offer) -> None:
    """Raise TrunkError if the file of a plugin's weights is not there, or not the one that the plugin was made for."""
    weights = offer.weights
    where = f"trunk -> weights: {weights.name!r} of {offer.plugin.label}"
    try:
        with weights.file.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise TrunkError(f"{where}: {weights.file} cannot be read: {error.strerror}; install it again") from error
    if found != weights.sha256:
        raise TrunkError(
            f"{where}: {weights.file} has the SHA-256 {found}, not {weights.sha256}; it was changed, or cut short: "
            f"pip install --force-reinstall {offer.plugin.owner}"
        )


# -- a folder's ------------------------------------------------------------------------------------


def _folder(backbone: str, folder: Path) -> Source:
    config = folder_config(folder)
    if architecture(str(config["architecture"])) != architecture(backbone):
        raise TrunkError(
            f"trunk -> weights: {folder} holds weights of {config['architecture']}, not of {backbone}; write "
            f'backbone = "{config["architecture"]}"'
        )
    file = folder / WEIGHTS_FILE
    if not file.is_file():
        raise TrunkError(
            f"trunk -> weights: {folder} has no {WEIGHTS_FILE}; other formats can run code when they are loaded"
        )
    return Source(f"{LOCAL_DIR}{folder}", _prepared(config.get("pretrained_cfg") or {}), partial(read_weights, file))


def folder_config(folder: Path) -> dict[str, Any]:
    """Return the config.json of a folder as timm writes one. Raises TrunkError if it is not there or names no model."""
    file = folder / CONFIG_FILE
    where = f"trunk -> weights: {folder}"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrunkError(
            f"{where} has no {CONFIG_FILE} that can be read ({error.strerror}); is it timm's folder?"
        ) from error
    except ValueError as error:
        raise TrunkError(f"{where}: {CONFIG_FILE} is not JSON: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("architecture"), str):
        raise TrunkError(f"{where}: {CONFIG_FILE} does not say its architecture, as timm's does")
    return config
