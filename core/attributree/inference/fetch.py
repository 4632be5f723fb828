"""Images behind URLs, fetched and decoded ahead of their use, or once more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..catalog import Catalog
from ..images.cache import Bound
from ..images.remote import RemoteFiles
from ..labels.records import ImageRecord, Quarantine
from ..nn.sources import find_weights
from ..nn.trunk import TrunkSpec, transform_of
from ..plugins import LoadedPlugins
from ..reports import Progress
from ..settings.models import Settings
from ..training.data import pick_device
from .features import CatalogImages


@dataclass(frozen=True)
class FetchReport:
    """What became of the images behind URLs.

    `fetched` were asked for and arrived, `changed` of them with another content than before; `here` were not asked for.
    `quarantined` cannot be used; the hosts of those that are `away` could not be reached.
    """

    images: int
    fetched: int
    changed: int
    here: int
    quarantined: tuple[Quarantine, ...]
    away: tuple[Quarantine, ...]


def fetch_images(
    catalog: Catalog,
    settings: Settings,
    plugins: LoadedPlugins | None = None,
    *,
    recheck: bool = False,
    progress: Progress | None = None,
) -> FetchReport:
    """Decode the images behind URLs, as the configured trunk wants them; hosts are asked for those not fetched yet.

    Those in quarantine are asked for again, and leave it if they can be read; with `recheck` all others too. Raises
    TrunkError if there are no such weights as the settings name: they say how images are prepared.
    """
    known = {image.id: image for image in catalog.labels.images(remote=True)}
    asked = [i for i, image in known.items() if recheck or image.state != "ok"]
    others = sorted(known.keys() - set(asked))
    device = pick_device(settings.training.device)
    images = CatalogImages(
        catalog, Bound.of(settings.catalog), RemoteFiles.of(settings), device, settings.training.workers, progress
    )
    spec = TrunkSpec(**settings.trunk.model_dump())
    transform = transform_of(spec, find_weights(spec.backbone, spec.weights, plugins))
    rest = images.decode(others, transform)
    again = images.decode(asked, transform, recheck=True)
    digests, failed, away = {**rest.digests, **again.digests}, {**rest.failed, **again.failed}, rest.away | again.away
    new = [i for i in digests if i in again.digests or known[i].digest is None]
    return FetchReport(
        images=len(known),
        fetched=len(new),
        changed=sum(known[i].digest not in (None, digests[i]) for i in new),
        here=len(digests) - len(new),
        quarantined=_named(known, {i: reason for i, reason in failed.items() if i not in away}),
        away=_named(known, {i: failed[i] for i in away}),
    )


def _named(known: Mapping[int, ImageRecord], reasons: Mapping[int, str]) -> tuple[Quarantine, ...]:
    return tuple(Quarantine(known[i].path, reasons[i]) for i in sorted(reasons))
