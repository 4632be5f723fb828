"""The weights that a trunk can be made of here: what they are, and whether a file holds what it says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any, Final

import timm
import torch
from huggingface_hub import constants, try_to_load_from_cache

from ..errors import TrunkError
from ..plugins import LoadedPlugins
from ..plugins.offers import Offer, offered_weights
from ..plugins.pretrained import OWN
from ..settings.models import LOCAL_DIR, Settings, weights_place
from .cut import architecture
from .sources import CONFIG_FILE, HUB, WEIGHTS_FILE, folder_config
from .trunk import TrunkSpec, build_backbone
from .weights import metadata_of

#: What timm's tags of weights call the data sets that they were learnt from.
_DATA: Final = {
    "in1k": "ImageNet-1k",
    "in12k": "ImageNet-12k",
    "in21k": "ImageNet-21k",
    "in22k": "ImageNet-22k",
    "laion2b": "LAION-2B",
    "openai": "OpenAI's pairs of image and text",
    "webli": "WebLI, pairs of image and text",
    "dfn2b": "DFN-2B, pairs of image and text",
    "datacompxl": "DataComp-1B, pairs of image and text",
    "lvd142m": "LVD-142M, photographs without labels",
    "lvd1689m": "LVD-1689M, photographs without labels",
    "yfcc100m": "YFCC-100M",
    "ig1b": "Instagram, a billion photographs",
}
#: Of more architectures than this the sizes are not counted: each has to be built for it.
_SIZED: Final = 20


@dataclass(frozen=True)
class Available:
    """Weights that can be had: `weights` and `backbone` are what to write into the [trunk] section.

    `source` is hub, packaged, file or folder. `here`: no network is needed. `bytes` of the file, or what its weights
    take; None where neither is known. `origin` is the hub's repository, a distribution or a path, `url` where to read
    of them.
    """

    weights: str
    backbone: str | None
    source: str
    here: bool
    licence: str | None = None
    bytes: int | None = None
    trained_on: str | None = None
    origin: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class Inventory:
    """All that can be had. `endpoint` is the hub that timm asks, `offline` whether it may; `problems` of plugins."""

    weights: tuple[Available, ...]
    endpoint: str
    offline: bool
    problems: tuple[str, ...]


def list_weights(settings: Settings, plugins: LoadedPlugins, pattern: str | None = None) -> Inventory:
    """Return the weights that can be had here; nothing is downloaded.

    Of the hub's those of the configured backbone, or of the backbones that `pattern` (such as "convnext*") matches.
    Local files and folders are those that lie beside the configuration.
    """
    offers, problems = offered_weights(plugins)
    found = [_packaged(offer) for offer in offers.values()]
    found += _local(settings.folder)
    found += _of_hub(pattern or f"{architecture(settings.trunk.backbone)}.*")
    return Inventory(tuple(found), constants.ENDPOINT, bool(constants.HF_HUB_OFFLINE), tuple(problems))


def _packaged(offer: Offer) -> Available:
    weights, file = offer.weights, offer.weights.file
    size = file.stat().st_size if file.is_file() else None
    version = f" {offer.plugin.version}" if offer.plugin.version else ""
    return Available(
        weights.name,
        weights.backbone,
        "packaged",
        size is not None,
        weights.licence,
        size,
        weights.trained_on,
        f"{offer.plugin.owner}{version}",
        weights.url or None,
    )


def _local(folder: Path) -> Iterator[Available]:
    for path in sorted(folder.glob("*.safetensors")):
        said = metadata_of(path)
        images = f"{said['images']} images without labels, by {said['method']}" if "method" in said else None
        yield Available(
            path.name, said.get("backbone"), "file", True, said.get("licence"), path.stat().st_size, images, str(path)
        )
    for config in sorted(folder.glob(f"*/{CONFIG_FILE}")):
        file = config.parent / WEIGHTS_FILE
        try:
            known = folder_config(config.parent)
        except TrunkError:
            continue  # another program's
        if file.is_file():
            prepared = known.get("pretrained_cfg") or {}
            licence, size = prepared.get("license"), file.stat().st_size
            name = f"{LOCAL_DIR}{config.parent.name}"
            yield Available(
                name, str(known["architecture"]), "folder", True, licence, size, prepared.get("tag"), str(config.parent)
            )


def _of_hub(pattern: str) -> list[Available]:
    names: Sequence[str] = timm.list_pretrained(pattern)
    sized = len({architecture(name) for name in names}) <= _SIZED
    found = []
    for name in names:
        config: Any = timm.get_pretrained_cfg(name)
        cached = try_to_load_from_cache(config.hf_hub_id, WEIGHTS_FILE) if config.hf_hub_id else None
        here = isinstance(cached, str)
        size = Path(cached).stat().st_size if isinstance(cached, str) else None
        if size is None and sized:
            size = _size(architecture(name))
        trained_on = ", then ".join(_DATA[part] for part in reversed((config.tag or "").split("_")) if part in _DATA)
        origin = config.hf_hub_id or config.url
        found.append(Available(HUB, name, "hub", here, config.license, size, trained_on or config.tag, origin))
    return found


@lru_cache
def _size(backbone: str) -> int | None:
    """Return the bytes of a backbone's weights, from their shapes."""
    try:
        with torch.device("meta"):
            tensors = timm.create_model(backbone).state_dict().values()
    except NotImplementedError:  # see `standard_names`
        return None
    size: int = sum(prod(tensor.shape) * tensor.element_size() for tensor in tensors)
    return size


@dataclass(frozen=True)
class Verified:
    """What was found of weights. `problem` is None if `backbone` can be built on them, cut, and every number is one.

    `tensors` is how many the trunk and the stages above it take of them. `sha256` and `bytes` are those of `file`.
    """

    weights: str
    backbone: str
    file: str | None
    sha256: str | None
    bytes: int | None
    tensors: int | None
    licence: str | None
    trained_on: str | None
    branch_at: str | None
    problem: str | None


def verify_weights(weights: str, settings: Settings, plugins: LoadedPlugins, backbone: str | None = None) -> Verified:
    """Return what is right or wrong about weights: a file, a folder, or a name that a plugin offers.

    They are read in full and put into `backbone`: the one that they say they are of, or the configured one, by default.
    """
    offers, _ = offered_weights(plugins)
    prefix, place = weights_place(weights) or ("", "")
    file = Path(place)
    licence: str | None = None
    trained_on: str | None = None
    own: str | None = None
    if weights in offers:
        offer = offers[weights].weights
        file, licence, trained_on, own = offer.file, offer.licence, offer.trained_on, offer.backbone
    elif prefix == LOCAL_DIR:
        file = Path(place) / WEIGHTS_FILE
    elif place:
        said = metadata_of(file)
        licence, own = said.get("licence"), said.get("backbone")
    named = backbone or own or settings.trunk.backbone
    digest: str | None = None
    size: int | None = None
    tensors: int | None = None
    branch_at: str | None = None
    problem: str | None = None
    try:
        if weights in OWN:
            raise TrunkError(f"trunk -> weights: {weights!r} is no file; name one, or weights that a plugin offers")
        if file.is_file():
            size = file.stat().st_size
            with file.open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
        if prefix == LOCAL_DIR:
            config = folder_config(Path(place))
            named = backbone or str(config["architecture"])
            licence = (config.get("pretrained_cfg") or {}).get("license")
        built = build_backbone(TrunkSpec(named, image_size=settings.trunk.image_size, weights=weights), plugins=plugins)
        tensors, branch_at = len(built.state()), built.spec.branch_at
    except TrunkError as error:
        problem = str(error)
    except OSError as error:
        problem = f"trunk -> weights: {file} cannot be read: {error.strerror}"
    place_of = str(file) if weights in offers or place else None
    return Verified(weights, named, place_of, digest, size, tensors, licence, trained_on, branch_at, problem)
