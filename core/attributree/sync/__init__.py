"""sync-catalog: declared x catalogued x live -> actions, and the actions carried out."""

from ..reports import Action, Forecast, Plan, Result, SyncReport, TrunkReport
from .apply import make_plan, observe_world, sync_catalog
from .plan import World, plan_sync

__all__ = [
    "Action",
    "Forecast",
    "Plan",
    "Result",
    "SyncReport",
    "TrunkReport",
    "World",
    "make_plan",
    "observe_world",
    "plan_sync",
    "sync_catalog",
]
