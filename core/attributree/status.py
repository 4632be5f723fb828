"""How a catalogue stands: coverage, live branches, and what a sync would do, as `status --json` shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .article_types import TypeReport
from .catalog import Catalog
from .jsonable import jsonable
from .reports import Plan
from .sync.state import CatalogState


def describe_status(
    catalog: Catalog,
    state: CatalogState,
    plan: Plan,
    undeclared: Mapping[str, int],
    unmapped: Sequence[TypeReport],
) -> dict[str, Any]:
    """Return the status as JSON-ready data.

    `undeclared` is columns that no attribute reads, with their cells, `unmapped` the article types that no rule maps.
    """
    counts = jsonable(catalog.labels.counts())
    names = sorted({*state.declared, *state.catalogued})
    return {
        **{key: counts[key] for key in ("images", "products", "observations", "revision")},
        "remote": {"images": counts["remote"], "fetched": counts["fetched"]},
        "version": state.live.id if state.live else None,
        "attributes": {name: _attribute_status(catalog, state, plan, name) for name in names},
        "undeclared": dict(undeclared),
        "unmapped_types": jsonable(unmapped),
        "quarantined": [{"image": i.path, "reason": i.reason} for i in catalog.labels.images(state="quarantined")],
        "plan": jsonable(plan.actions),
        "notes": list(plan.notes),
    }


def _attribute_status(catalog: Catalog, state: CatalogState, plan: Plan, name: str) -> dict[str, Any]:
    catalogued = state.catalogued.get(name)
    schema = state.declared.get(name) or (catalogued.schema if catalogued else None)
    assert schema is not None
    coverage = state.coverage.get(name) or catalog.labels.coverage(schema)
    branch = state.live.branches.get(name) if state.live else None
    scores = branch.metrics.get("test", {}) if branch else {}
    return {
        "declared_by": state.declared_by.get(name) or (catalogued.declared_by if catalogued else None),
        **{key: getattr(coverage, key) for key in ("labelled", "ambiguous", "not_applicable", "unknown", "unmapped")},
        "branch": branch.id if branch else None,
        "state": _state(state, plan, name, branch is not None),
        "accuracy": scores.get("accuracy"),
        "macro_f1": scores.get("macro_f1"),
        "unreadable": [{"text": u.text, "count": u.count, "nearest": u.nearest} for u in coverage.unreadable],
    }


def _state(state: CatalogState, plan: Plan, name: str, has_branch: bool) -> str:
    """Return orphaned, live, due (sync would train it) or blocked."""
    if name not in state.declared:  # a broken plugin's attribute waits for its repair
        return "blocked" if any(action.attribute == name for action in plan.blocked) else "orphaned"
    if any(action.attribute == name for action in plan.training):
        return "due"
    return "live" if has_branch else "blocked"
