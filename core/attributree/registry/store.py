"""The registry's store: runs, branches, tree versions and predictions."""

from __future__ import annotations

from ..database import leases
from ..database.store import Store, reading, writing
from . import predictions, runs, versions


class RegistryStore(Store):
    """What was trained, what of it is live, and what that predicts. Every method is one transaction."""

    claim_run = writing(runs.claim)
    heartbeat = writing(runs.heartbeat)
    finish_run = writing(runs.finish_run)
    cancel_run = writing(runs.cancel)
    training = reading(leases.held)
    require_idle = reading(runs.require_idle)
    runs = reading(runs.runs)

    save_trunk = writing(versions.save_trunk)
    branches = reading(versions.branches)
    commit_version = writing(versions.commit_version)
    live = reading(versions.live)
    version = reading(versions.version)
    promote = writing(versions.promote)
    named_parts = reading(versions.named_parts)
    versions = reading(versions.versions)

    save_predictions = writing(predictions.save)
    save_product_predictions = writing(predictions.save_products)
    product_predictions = reading(predictions.load_products)
    predictions = reading(predictions.load)
