"""The training half of a sync, in two steps: what needs the sync lock, and what other workers may do beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import AttributreeError, TrunkError
from ..reports import FAILED, Action, Result
from .branch import Job, StoredTrunk
from .live_trunk import grow_live, live_trunk
from .new_trunk import make_trunk, move_tree
from .plan import trunk_differences
from .promote import Live, load_live


@dataclass(frozen=True, eq=False)
class Begun:
    """Where training stands when the sync lock is given back: `left` is to be grown on the `trunk` of the `live` tree.

    `trained` is what is reported of a trunk that was trained.
    """

    trunk: StoredTrunk | None = None
    live: Live | None = None
    left: tuple[Action, ...] = ()
    trained: dict[str, Any] | None = None


def begin(job: Job, actions: Sequence[Action], tell: Callable[[Action, Result], None]) -> Begun:
    """Do of `actions` what others must wait for: a new trunk with all its branches, or the first branch of all.

    `tell` is called with each result. The sync lock is held. Raises TrunkError if the backbone or its weights cannot be
    had: a fault of the settings, and no attribute's.
    """
    grows = [action for action in actions if action.attribute]
    if not grows:
        return Begun()
    data = job.data
    try:
        data.store.sweep()
        live = load_live(data)
        if live and not trunk_differences(live.loaded.trunk.spec, data.settings.trunk_identity()):
            return Begun(live_trunk(data, live), live, tuple(grows))
        new = make_trunk(job, [str(action.attribute) for action in grows])
    except TrunkError:
        raise
    except AttributreeError as error:
        for action in grows:
            tell(action, Result(str(action.attribute), action.action, FAILED, str(error)))
        return Begun()
    if live:
        results, live = move_tree(job, new.stored, live, grows)
        for action, result in zip(grows, results, strict=True):
            tell(action, result)
        grows = []
    while grows and not live:
        action = grows.pop(0)
        result, live = grow_live(job, new.stored, None, action)
        tell(action, result)
    if new.checkpoints and live and live.loaded.trunk.digest == new.stored.record.digest:
        new.checkpoints.forget()
    return Begun(new.stored, live, tuple(grows), new.trained)


def grow_left(job: Job, begun: Begun, tell: Callable[[Action, Result], None]) -> None:
    """Grow what `begin` left, one branch after the other; each goes live by itself. Others may train beside."""
    live = begun.live
    for action in begun.left:
        assert begun.trunk is not None
        result, live = grow_live(job, begun.trunk, live, action)
        tell(action, result)
