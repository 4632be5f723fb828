"""sync-catalog: declared x catalogued x live -> actions, and the actions carried out."""

from .apply import make_plan, observe_world, sync_catalog
from .plan import Action, Forecast, Plan, World, plan_sync
from .report import Result, SyncReport, TrunkReport

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
