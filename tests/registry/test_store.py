"""Runs, branches, versions, promotions and predictions as rows."""

import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from attributree import Attribute, SingleLabel, Value
from attributree.catalog import Catalog
from attributree.database.tables import PromotionRow
from attributree.errors import CatalogError, LeaseError, UnknownNameError
from attributree.labels.records import PredictionRecord
from attributree.registry.records import BranchRecord, FinishedRun, NewVersion, TrainingRun, TrunkRecord, Work
from support.catalogues import Shop

TRUNK = TrunkRecord("t" * 64, {"backbone": "resnet18", "branch_at": "layer4", "image_size": 64, "weights": "random"})


def attribute(name: str, *values: Value | str) -> Attribute:
    return Attribute(name, SingleLabel(tuple(values or ("a", "b"))))


def branch(name: str, **more: Any) -> BranchRecord:
    record = BranchRecord(
        id=None,
        attribute=name,
        parts=("u" * 64, "h" * 64),
        trunk=TRUNK.digest,
        depth="block",
        head="linear",
        donor=None,
        values=("a", "b"),
        kind="single",
        schema_digest="s" * 64,
        revision=3,
        fingerprint="f" * 64,
        labels=120,
        temperature=1.25,
        cut=0.8,
        calibrated=True,
        metrics={"macro_f1": 0.75},
        config={"epochs": 2},
    )
    return replace(record, **more)


def version(*branches: BranchRecord, parent: int | None = None, **more: Any) -> NewVersion:
    return NewVersion(TRUNK, branches, parent, "grow", "sync", **more)


@pytest.fixture
def declared(catalog: Catalog) -> Catalog:
    for name in ("neckline", "colour"):
        catalog.labels.declare(attribute(name), "p")
    return catalog


def test_a_version_is_committed_with_its_parts_and_goes_live(declared: Catalog) -> None:
    assert declared.registry.live() is None
    first = declared.registry.commit_version(version(branch("neckline"), proof={"max_abs_diff": 0.0}))
    assert first == declared.registry.live() == declared.registry.version(first.id)
    assert (first.live, first.trunk, first.parent, first.proof) == (True, TRUNK, None, {"max_abs_diff": 0.0})
    stored = first.branches["neckline"]
    assert stored == branch("neckline", id=stored.id, created_at=stored.created_at)
    assert stored.created_at is not None
    assert abs(datetime.now(UTC) - stored.created_at) < timedelta(minutes=5)


def test_a_tree_grows_by_linking_the_branches_it_has(declared: Catalog) -> None:
    first = declared.registry.commit_version(version(branch("neckline")))
    second = declared.registry.commit_version(version(first.branches["neckline"], branch("colour"), parent=first.id))
    assert second.branches["neckline"] == first.branches["neckline"]
    assert [one.live for one in declared.registry.versions()] == [False, True]
    assert [one.attribute for one in declared.registry.branches()] == ["neckline", "colour"]


def promotions(catalog: Catalog) -> list[tuple[int, str, str]]:
    """Return version, actor and reason of every promotion, oldest first."""
    query = select(PromotionRow.version_id, PromotionRow.actor, PromotionRow.reason).order_by(PromotionRow.id)
    return catalog.registry.read(lambda connection: [(*row,) for row in connection.execute(query)])


def test_a_version_may_be_stored_without_going_live(declared: Catalog) -> None:
    kept = declared.registry.commit_version(version(branch("neckline"), promote=False))
    assert not kept.live
    assert declared.registry.live() is None
    assert promotions(declared) == []


def test_rollback_is_promoting_an_older_version(declared: Catalog) -> None:
    first = declared.registry.commit_version(version(branch("neckline")))
    declared.registry.commit_version(version(branch("neckline"), parent=first.id))
    assert declared.registry.promote(first.id, "mia", "worse on dresses").live
    live = declared.registry.live()
    assert live is not None
    assert live.id == first.id
    assert promotions(declared) == [
        (1, "sync", "grow"),
        (2, "sync", "grow"),
        (1, "mia", "worse on dresses"),
    ]
    with pytest.raises(UnknownNameError, match=r"tree version 9 is not in the catalogue \(there: 1, 2\)"):
        declared.registry.promote(9, "mia", "typo")


def test_a_version_made_from_one_that_is_not_live_any_more_is_refused_whole(declared: Catalog) -> None:
    first = declared.registry.commit_version(version(branch("neckline")))
    second = declared.registry.commit_version(version(branch("neckline"), parent=first.id))
    with pytest.raises(CatalogError, match="tree version 2 went live while one made from 1 was on its way"):
        declared.registry.commit_version(version(branch("colour"), parent=first.id))
    assert declared.registry.live() == second
    assert len(declared.registry.versions()) == len(declared.registry.branches()) == 2


@pytest.mark.parametrize(
    ("branches", "message"),
    [
        ((branch("neckline"), branch("neckline")), "an attribute has two branches"),
        ((branch("neckline", trunk="x" * 64),), "was trained for 'neckline' on trunk xxxxxxxxxxxx, not on tttt"),
        ((branch("neckline", id=77),), "branch 77 of 'neckline' is not in the catalogue"),
        ((branch("sleeve"),), r"attribute 'sleeve' is not in the catalogue \(there: colour, neckline\)"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(
    declared: Catalog, branches: tuple[BranchRecord, ...], message: str
) -> None:
    with pytest.raises((CatalogError, UnknownNameError), match=message):
        declared.registry.commit_version(version(*branches))
    assert declared.registry.versions() == []
    assert declared.registry.branches() == []


def test_a_trunk_is_stored_once(declared: Catalog) -> None:
    declared.registry.save_trunk(TRUNK)
    declared.registry.save_trunk(TRUNK)
    assert declared.registry.commit_version(version(branch("neckline"))).trunk == TRUNK


# -- runs ------------------------------------------------------------------------------------------

WORK = ("neckline", "grow", "f" * 64, "s" * 64, "c" * 64, 7)


def test_a_run_is_opened_closed_and_linked_to_its_branch(declared: Catalog) -> None:
    run = claim(declared, owner="me")
    assert (run.status, run.revision, run.finished_at, run.branch_id) == ("running", 7, None, None)
    stored = declared.registry.commit_version(version(branch("neckline", run_id=run.id)))
    closed = declared.registry.finish_run(run, "promoted", seconds=1.5, metrics={"macro_f1": 0.5})
    assert closed.branch_id == stored.branches["neckline"].id
    assert (closed.status, closed.seconds, closed.metrics, closed.error) == ("promoted", 1.5, {"macro_f1": 0.5}, None)
    assert closed.finished_at is not None
    assert closed.finished_at >= closed.started_at
    assert declared.registry.runs("neckline") == [closed] == declared.registry.runs()
    assert declared.registry.runs("colour") == []


def test_a_run_that_broke_off_is_taken_up_and_a_closed_one_is_not(declared: Catalog) -> None:
    broken = claim(declared, owner="me")
    again = claim(declared, owner="me")
    assert (again.id, again.token) == (broken.id, broken.token + 1)
    declared.registry.finish_run(again, "failed", seconds=1, error="the disk is full")
    retried = claim(declared, owner="me")
    assert (retried.id != broken.id, retried.attempts) == (True, 2)


def test_a_run_whose_labels_changed_since_it_broke_off_is_cancelled_with_a_reason(declared: Catalog) -> None:
    broken = claim(declared, owner="me")
    fresh = declared.registry.claim_run(Work(*WORK[:2], "e" * 64, *WORK[3:]), "me")
    assert fresh is not None
    assert fresh.id != broken.id
    former = declared.registry.runs()[0]
    assert (former.status, former.error) == (
        "cancelled",
        "broken off by me; there are other labels, values or settings by now",
    )


def claim(catalog: Catalog, *, owner: str, lease: float = 60, seen: list[int] | None = None) -> TrainingRun:
    """Return a claimed run of WORK. Raises AssertionError if it is another's."""
    run = catalog.registry.claim_run(Work(*WORK), owner, lease=lease, seen=seen)
    assert run is not None
    return run


def test_a_run_has_one_owner_until_its_lease_ends(declared: Catalog) -> None:
    claim(declared, owner="host-a:1:x")
    assert declared.registry.claim_run(Work(*WORK), "host-b:1:y") is None
    assert declared.registry.training() == {"neckline": "host-a:1:x"}
    with pytest.raises(CatalogError, match=r"training is under way \(neckline by host-a:1:x\)"):
        declared.registry.require_idle()


def test_a_worker_that_slept_past_its_lease_cannot_write_any_more(declared: Catalog) -> None:
    slow = claim(declared, owner="host-a:1:x", lease=-1)
    assert declared.registry.training() == {}
    quick = claim(declared, owner="host-b:1:y")
    assert (quick.id, quick.token, quick.owner) == (slow.id, slow.token + 1, "host-b:1:y")
    assert not declared.registry.heartbeat(slow)
    with pytest.raises(LeaseError, match="taken over or cancelled"):
        declared.registry.finish_run(slow, "promoted", seconds=1)
    late = replace(version(branch("neckline")), finished=(FinishedRun(slow, "promoted", 1.0),))
    with pytest.raises(LeaseError):
        declared.registry.commit_version(late)
    assert declared.registry.versions() == []
    assert declared.registry.heartbeat(quick)
    assert declared.registry.finish_run(quick, "rejected", seconds=1).status == "rejected"


def test_a_heartbeat_prolongs_a_lease_by_the_database_s_time(
    declared: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = claim(declared, owner="host-a:1:x", lease=-1)
    monkeypatch.setattr("time.time", lambda: 0.0)  # this machine's clock jumped to 1970
    assert declared.registry.heartbeat(run, lease=60)
    assert declared.registry.claim_run(Work(*WORK), "host-b:1:y") is None


def test_a_lease_alone_says_who_holds_a_run_whatever_host_and_process_its_owner_names(declared: Catalog) -> None:
    gone = f"{socket.gethostname()}:999999:x"  # in another container of this name it may be alive
    run = claim(declared, owner=gone)
    assert declared.registry.training() == {"neckline": gone}
    assert declared.registry.claim_run(Work(*WORK), "host-b:1:y") is None
    assert declared.registry.heartbeat(run, lease=0)  # given back
    assert declared.registry.training() == {}
    assert claim(declared, owner="host-b:1:y").id == run.id


def test_work_that_another_worker_finished_since_is_not_done_again(declared: Catalog) -> None:
    declared.registry.finish_run(claim(declared, owner="host-a:1:x"), "promoted", seconds=1)
    assert declared.registry.claim_run(Work(*WORK), "host-b:1:y", seen=[]) is None
    assert claim(declared, owner="host-b:1:y", seen=[1]).id == 2  # it was known, and asked for all the same


def test_a_cancelled_run_s_result_is_refused(declared: Catalog) -> None:
    run = claim(declared, owner="host-a:1:x")
    cancelled = declared.registry.cancel_run(run.id, "ann")
    assert (cancelled.status, cancelled.error) == ("cancelled", "cancelled by ann")
    with pytest.raises(LeaseError):
        declared.registry.finish_run(run, "rejected", seconds=1)
    with pytest.raises(LeaseError, match="training run 1 is not running: it was cancelled"):
        declared.registry.cancel_run(run.id, "ann")
    with pytest.raises(UnknownNameError):
        declared.registry.cancel_run(99, "ann")


def test_many_claims_at_once_have_one_winner(declared: Catalog) -> None:
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda i: declared.registry.claim_run(Work(*WORK), f"host-{i}:1:x"), range(8)))
    assert sum(run is not None for run in claims) == 1


def test_a_run_is_closed_once(declared: Catalog) -> None:
    run = claim(declared, owner="me")
    declared.registry.finish_run(run, "rejected", seconds=1)
    with pytest.raises(CatalogError, match=f"training run {run.id} is not running"):
        declared.registry.finish_run(run, "promoted", seconds=1)
    with pytest.raises(ValueError, match="a run ends as promoted, rejected or failed, not as 'done'"):
        declared.registry.finish_run(run, "done", seconds=1)


# -- predictions -----------------------------------------------------------------------------------


@pytest.fixture
def predicting(declared: Catalog, shop: Shop) -> Catalog:
    declared.labels.ingest(shop.labels("image", "a.png", "b.png", "c.png"))
    declared.registry.commit_version(version(branch("neckline")))
    return declared


def prediction(image: int, *values: str, decision: str = "accept") -> PredictionRecord:
    return PredictionRecord(image, "neckline", values, 0.9, decision, 1, 1)


def test_one_prediction_is_current_per_image_and_attribute(predicting: Catalog) -> None:
    predicting.registry.save_predictions(
        [prediction(1, "a"), prediction(2, "b", "a"), prediction(3, decision="not_applicable")]
    )
    assert predicting.registry.predictions("neckline", [2, 3]) == [
        prediction(2, "b", "a"),
        prediction(3, decision="not_applicable"),
    ]
    predicting.registry.save_predictions([prediction(1, "b", decision="review"), prediction(2, "a")])
    assert predicting.registry.predictions("neckline") == [
        prediction(1, "b", decision="review"),
        prediction(2, "a"),
        prediction(3, decision="not_applicable"),
    ]
    assert predicting.registry.predictions("colour") == []


def test_predictions_read_back_under_todays_keys(predicting: Catalog) -> None:
    predicting.registry.save_predictions([prediction(1, "a"), prediction(2, "a", "b")])
    predicting.labels.declare(attribute("neckline", Value("c", formerly=("a",)), "b"), "p")
    predicting.labels.declare(attribute("neckline", Value("d", formerly=("c", "b")), "e"), "p")
    assert [record.values for record in predicting.registry.predictions("neckline")] == [("d",), ("d",)]


def test_a_prediction_of_no_value_is_refused_and_leaves_the_others(predicting: Catalog) -> None:
    predicting.registry.save_predictions([prediction(1, "a")])
    with pytest.raises(CatalogError, match="'z' is not a value of 'neckline'"):
        predicting.registry.save_predictions([prediction(1, "b"), prediction(2, "z")])
    assert predicting.registry.predictions("neckline") == [prediction(1, "a")]
