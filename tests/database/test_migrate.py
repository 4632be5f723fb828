"""One schema path: made, checked, upgraded by several at once, and refused when it is not ours."""

import gzip
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, Row, UniqueConstraint, create_engine, inspect, text

from attributree import Attribute
from attributree.catalog import Catalog
from attributree.database import migrate
from attributree.database.tables import Base
from attributree.errors import CatalogError, CatalogVersionError
from attributree.registry.predictions import load as load_predictions
from attributree.registry.records import Work
from attributree.schema import KINDS
from support.databases import differences
from support.processes import Ended, Started


def _set_revision(url: str, revision: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {migrate.VERSION_TABLE} SET version_num = '{revision}'"))
    engine.dispose()


def test_migrations_make_exactly_the_tables_of_the_code(url: str) -> None:
    assert differences(url) == []


def test_a_missing_index_would_be_noticed(url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP INDEX ix_image_state"))
    engine.dispose()
    assert "ix_image_state" in str(differences(url))


def test_the_code_knows_the_newest_migration() -> None:
    assert ScriptDirectory.from_config(migrate.alembic_config()).get_heads() == [migrate.HEAD]


def test_upgrading_twice_is_upgrading_once(new_url: Callable[[], str]) -> None:
    url = new_url()
    assert migrate.current(url) is None
    assert migrate.upgrade(url) == migrate.upgrade(url) == migrate.current(url) == migrate.HEAD


def test_two_upgrades_at_once_both_succeed(new_url: Callable[[], str]) -> None:
    _upgrade_twice_at_once(new_url())


def _upgrade_twice_at_once(url: str) -> None:
    code = "import sys; from attributree.database.migrate import upgrade; upgrade(sys.argv[1])"
    assert [worker.end() for worker in [Started(code, [url]), Started(code, [url])]] == [Ended(0, "", "")] * 2
    migrate.check(url)
    assert differences(url) == []


def test_a_migration_that_breaks_off_leaves_nothing(new_url: Callable[[], str]) -> None:
    url = new_url()

    def broken_off() -> None:
        with migrate._connection(url, 5, write=True) as connection:
            command.upgrade(migrate.alembic_config(connection), "head")
            assert set(Base.metadata.tables) <= set(inspect(connection).get_table_names())
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        broken_off()
    assert migrate.current(url) is None
    assert migrate.upgrade(url) == migrate.HEAD
    assert differences(url) == []


def test_downgrading_leaves_no_table_behind(url: str) -> None:
    with migrate._connection(url, 5, write=True) as connection:
        command.downgrade(migrate.alembic_config(connection), "base")
        assert inspect(connection).get_table_names() == [migrate.VERSION_TABLE]


def test_a_newer_catalogue_is_refused_with_the_command_to_type(url: str) -> None:
    _set_revision(url, "9999")
    message = (
        rf"catalogue is newer than this attributree \(rev 9999, code knows {migrate.HEAD}\): "
        r"upgrade the package: pip install -U attributree"
    )
    with pytest.raises(CatalogVersionError, match=message):
        Catalog.open(url)
    with pytest.raises(CatalogVersionError, match=message):
        migrate.upgrade(url)


def test_an_older_catalogue_is_refused_with_the_command_to_type(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    head = migrate.HEAD
    monkeypatch.setattr(migrate, "HEAD", "9999")
    message = rf"catalogue is older \(rev {head}, code needs 9999\): run `attributree db upgrade`"
    with pytest.raises(CatalogVersionError, match=message):
        Catalog.open(url)


def test_no_catalogue_is_said_and_no_file_is_made(tmp_path: Path) -> None:
    with pytest.raises(CatalogVersionError, match=r"no catalogue there yet .*: run `attributree init`"):
        Catalog.open(f"sqlite:///{tmp_path}/none.db")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"there is no folder .*/nowhere; create it first"):
        migrate.upgrade(f"sqlite:///{tmp_path}/nowhere/catalogue.db")


@pytest.mark.sqlite_only("PostgreSQL has no other journal")
def test_a_write_ahead_log_is_used(url: str) -> None:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_every_foreign_key_starts_an_index_unless_a_million_rows_refer_to_what_is_never_deleted() -> None:
    without = {
        ("observation", "revision"),
        ("observation", "column_id"),
        ("observation", "voice_id"),
        ("product_observation", "revision"),
        ("product_observation", "column_id"),
        ("product_observation", "voice_id"),
        ("annotation", "revision"),
        ("image", "root_id"),
    }
    for table in Base.metadata.tables.values():
        unique = [constraint for constraint in table.constraints if isinstance(constraint, UniqueConstraint)]
        starts = {next(iter(found.columns)).name for found in (*table.indexes, *unique, table.primary_key)}
        found = {key.parent.name for key in table.foreign_keys} - starts
        assert found == {column for name, column in without if name == table.name}, table.name


# -- catalogues of former revisions ----------------------------------------------------------------

#: Each is a catalogue as that revision's code left it: six images, two attributes, sources that disagree, values no
#: schema knows. Before HEAD moves on, former.py makes the next one by upgrading the last with that code. 0002
#: has a finished run of neckline, and one that was broken off; 0003 a lease too; 0004 an attribute hem with a replaced
#: and a retired value, a branch and a live version; in 0005 hem was renamed to length and its value mini split.
FORMER = {path.name.removesuffix(".db.gz"): path for path in sorted((Path(__file__).parent / "data").glob("*.db.gz"))}


def test_the_database_takes_every_kind_of_attribute(catalog: Catalog) -> None:
    values = ("left", "right")
    for kind, labels in KINDS.items():
        catalog.labels.declare(Attribute(f"attribute_{kind}", labels(values)), "p")
    assert {attribute.kind for attribute in catalog.labels.attributes().values()} == KINDS.keys()


@pytest.fixture
def make_former(new_url: Callable[[], str], backend: str, tmp_path: Path) -> Callable[[str], str]:
    """Makes catalogues as the code of a revision left them. They were made in SQLite, and are copied row by row."""

    def make(revision: str) -> str:
        path = tmp_path / "former.db"
        path.write_bytes(gzip.decompress(FORMER[revision].read_bytes()))
        made = f"sqlite:///{path}"
        if backend == "sqlite":
            return made
        url = new_url()
        with migrate._connection(url, 5, write=True) as connection:
            command.upgrade(migrate.alembic_config(connection), revision)
        _copy_rows(made, url)
        return url

    return make


def _copy_rows(source: str, target: str) -> None:
    """Copy all rows of a database into the same tables of one in PostgreSQL, which numbers on behind them."""
    tables, readers, writers = MetaData(), create_engine(source), create_engine(target)
    with readers.connect() as reader, writers.begin() as writer:
        tables.reflect(reader)
        writer.execute(text("SET session_replication_role = replica"))  # rows may name later ones
        for table in tables.sorted_tables:
            rows = [row._asdict() for row in reader.execute(table.select())]
            writer.execute(table.delete())  # a migration may have put some in
            if rows:
                writer.execute(table.insert(), rows)
            if "id" in table.columns and rows:
                sequence = f"pg_get_serial_sequence('{table.name}', 'id')"
                writer.execute(text(f"SELECT setval({sequence}, (SELECT max(id) FROM {table.name}))"))
    for engine in (readers, writers):
        engine.dispose()


@pytest.fixture(params=FORMER)
def former(request: pytest.FixtureRequest, make_former: Callable[[str], str]) -> str:
    return make_former(request.param)


def test_there_is_a_catalogue_of_every_former_revision() -> None:
    script = ScriptDirectory.from_config(migrate.alembic_config())
    revisions = {revision.revision for revision in script.walk_revisions()}
    assert FORMER.keys() == revisions - {migrate.HEAD}


def test_a_former_catalogue_is_upgraded_without_loss_and_what_sources_disagree_on_is_read_again(former: str) -> None:
    assert migrate.upgrade(former) == migrate.HEAD
    assert differences(former) == []
    with Catalog.open(former) as catalog:
        counts = catalog.labels.counts()
        assert (counts.images, counts.products, counts.observations) == (6, 6, 12)
        states = {i: annotation.state for i, annotation in catalog.labels.annotations("neckline", range(1, 7)).items()}
        assert states == {1: "labelled", 2: "ambiguous", 3: "ambiguous", 4: "not_applicable", 5: "labelled"}

        before = catalog.labels.label_set("neckline")
        for name in ("neckline", "details"):
            known = catalog.labels.attributes()[name]
            assert known.digest != known.schema.digest
            catalog.labels.declare(known.schema, known.declared_by)
            assert catalog.labels.attributes()[name].digest == known.schema.digest
        after = catalog.labels.label_set("neckline")
        assert catalog.labels.new_labels("neckline", before.revision) == 1  # the one image that is disputed
    assert before.target.tolist() == [[1, 0], [1, 1], [1, 1], [1, 0]]
    assert after.target.tolist() == [[1, 0], [1, 1], [0.5, 0.5], [1, 0]]


@pytest.fixture
def newest_former(make_former: Callable[[str], str]) -> str:
    """A catalogue as the last revision before this one left it."""
    return make_former(max(FORMER))


def test_two_upgrades_at_once_of_a_former_catalogue_both_succeed(newest_former: str) -> None:
    url = newest_former
    _upgrade_twice_at_once(url)
    with Catalog.open(url) as catalog:
        assert catalog.labels.counts().observations == 12


def test_replaced_values_branches_and_versions_of_a_former_catalogue_are_kept(
    make_former: Callable[[str], str],
) -> None:
    url = make_former("0004")
    migrate.upgrade(url)
    with Catalog.open(url) as catalog:
        hem = catalog.labels.attributes()["hem"]
        assert [(value.key, value.state, value.replaced_by) for value in hem.values] == [
            ("short", "replaced", ("mini",)),
            ("midi", "active", ()),
            ("maxi", "retired", ()),
            ("mini", "active", ()),
        ]
        assert hem.today.labels.find("short") == hem.today.labels.find("mini")
        live = catalog.registry.live()
        assert live is not None
        assert (live.reason, live.made_with, live.branches["hem"].made_with) == ("hem: no branch yet", {}, {})
        assert catalog.labels.changes() == []  # the record begins with the upgrade
        renamed = Attribute("length", hem.schema.labels, formerly=("hem",))
        catalog.labels.declare(renamed, "attributree-hem", "2.0")
        assert catalog.labels.changes("length")[0].detail == "hem is now length"
    with migrate._connection(url, 5, write=True) as connection:
        command.downgrade(migrate.alembic_config(connection), "0004")
        heir = "SELECT b.key FROM attribute_value a JOIN attribute_value b ON b.id = a.replaced_by_id"
        assert connection.execute(text(heir)).scalars().all() == ["mini"]


def test_splits_renames_and_the_record_of_changes_of_a_former_catalogue_are_kept(
    make_former: Callable[[str], str],
) -> None:
    url = make_former("0005")
    migrate.upgrade(url)
    with Catalog.open(url) as catalog:
        length = catalog.labels.attributes()["length"]
        assert length.former_names == ("hem",)
        assert [(value.key, value.state, value.replaced_by) for value in length.values] == [
            ("short", "replaced", ("mini",)),
            ("midi", "active", ()),
            ("maxi", "retired", ()),
            ("mini", "replaced", ("micro", "thigh")),
            ("micro", "active", ()),
            ("thigh", "active", ()),
        ]
        assert [(change.attribute, change.actor) for change in catalog.labels.changes()] == [("length", "mia")]


@pytest.mark.parametrize("revision", [name for name in FORMER if name >= "0005"])
def test_going_back_leaves_exactly_what_a_former_revision_had(make_former: Callable[[str], str], revision: str) -> None:
    url = make_former(revision)
    before = _structure(url)
    assert migrate.upgrade(url) != revision
    with migrate._connection(url, 5, write=True) as connection:
        command.downgrade(migrate.alembic_config(connection), revision)
    assert _structure(url) == before


def _structure(url: str) -> set[tuple[object, ...]]:
    """Return the columns and indexes of a database, and what its tables refer to and want to be unique."""
    engine = create_engine(url)
    inspector = inspect(engine)
    found: set[tuple[object, ...]] = set()
    for table in inspector.get_table_names():
        found |= {
            (table, column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(table)
        }
        for index in inspector.get_indexes(table):
            options = sorted((name, str(value)) for name, value in index.get("dialect_options", {}).items())
            found.add((table, index["name"], *index["column_names"], *options))
        for key in inspector.get_foreign_keys(table):
            found.add((table, key["name"], *key["constrained_columns"], key["referred_table"]))
        for unique in inspector.get_unique_constraints(table):
            found.add((table, unique["name"], *unique["column_names"]))
    engine.dispose()
    return found


#: Said of the first image besides what the former catalogue has: text, source, annotator, revision.
SAID = (
    ("crew", "review", "ann", 4),
    ("scoop", "review", "ben", 4),
    ("scoop", "review", "ann", 5),
    ("", "review", None, 5),
    ("boat", "list", "eve", 5),
)
_SAY = text(
    "INSERT INTO observation (image_id, attribute, raw, source, annotator, revision) "
    "VALUES (1, 'neckline', :raw, :source, :annotator, :revision)"
)


@pytest.fixture
def spoken(make_former: Callable[[str], str]) -> str:
    """A catalogue of 0006 in which many speak, an image is a link, and another one lies below a root of its own."""
    url = make_former("0006")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(
            _SAY, [dict(zip(("raw", "source", "annotator", "revision"), said, strict=True)) for said in SAID]
        )
        connection.execute(text("UPDATE image SET file = '/elsewhere/linked.jpg' WHERE id = 2"))
        connection.execute(text("UPDATE image SET root = '/annex', file = '/annex/' || path WHERE id = 3"))
    engine.dispose()
    return url


def test_what_was_said_by_whom_and_where_images_lie_is_kept(spoken: str) -> None:
    migrate.upgrade(spoken)
    with Catalog.open(spoken) as catalog:
        first, second, third, *_ = catalog.labels.images()
        assert (second.file, third.file) == (Path("/elsewhere/linked.jpg"), Path("/annex") / third.path)
        paths = [first.file, second.file, third.file, Path("/shop") / second.path]
        assert [image.id for image in catalog.labels.images(paths=paths)] == [1, 2, 3]
        said = [
            (o.raw, o.source, o.annotator, o.revision)
            for o in catalog.labels.history(first.sku, load_predictions).images[0].observations
        ]
        assert said == [("crew", "import", None, 3), ("bow|lace", "import", None, 3), *SAID]
        assert catalog.labels.counts().observations == 12 + len(SAID)
        gone = catalog.labels.forget([first.sku], "mia")
        assert (gone.observations, catalog.labels.counts().observations) == (2 + len(SAID), 10)


def test_what_was_said_by_whom_and_where_images_lie_comes_back_on_the_way_back(spoken: str) -> None:
    def everything() -> list[list[Row[Any]]]:
        engine = create_engine(spoken)
        with engine.connect() as connection:
            said = "SELECT image_id, attribute, raw, source, annotator, revision FROM observation"
            found = [
                connection.execute(text(query)).all() for query in (said, "SELECT id, root, path, file FROM image")
            ]
        engine.dispose()
        return [sorted(rows, key=str) for rows in found]

    before = everything()
    migrate.upgrade(spoken)
    with migrate._connection(spoken, 5, write=True) as connection:
        command.downgrade(migrate.alembic_config(connection), "0006")
    assert everything() == before


def test_of_two_words_on_one_cell_at_one_revision_the_last_one_is_kept(spoken: str) -> None:
    engine = create_engine(spoken)
    with engine.begin() as connection:
        for raw, source, annotator in (("polo", "list", "eve"), ("n/a", "review", None)):
            connection.execute(_SAY, {"raw": raw, "source": source, "annotator": annotator, "revision": 5})
    engine.dispose()
    migrate.upgrade(spoken)
    with Catalog.open(spoken) as catalog:
        said = [
            (o.raw, o.source, o.annotator)
            for o in catalog.labels.history("S-0", load_predictions).images[0].observations
        ]
        assert said[-3:] == [("scoop", "review", "ann"), ("polo", "list", "eve"), ("n/a", "review", None)]
        assert catalog.labels.counts().observations == 12 + len(SAID)


def test_runs_of_a_former_catalogue_are_kept_and_a_broken_one_can_be_taken_over(
    make_former: Callable[[str], str],
) -> None:
    url = make_former("0002")
    migrate.upgrade(url)
    with Catalog.open(url) as catalog:
        kept, broken = catalog.registry.runs("neckline")
        assert (kept.status, kept.seconds, kept.metrics, kept.attempts) == ("rejected", 1.5, {"labels": 4}, 1)
        assert (broken.status, broken.owner, catalog.registry.training()) == ("running", None, {})
        work = Work("neckline", "grow", broken.fingerprint, broken.schema_digest, broken.config_digest, 1)
        taken = catalog.registry.claim_run(work, "host:1:x")
        assert taken is not None
        assert (taken.id, taken.token) == (broken.id, 1)


@pytest.fixture
def spelt(make_former: Callable[[str], str]) -> str:
    """A catalogue of 0008 in which one file is three images, another has an odd path, and a product has two skus."""
    url = make_former("0008")
    engine = create_engine(url)
    with engine.begin() as connection:
        for change in (
            "UPDATE image SET path = './0.jpg', file = '/shop/0.jpg' WHERE id = 1",
            "UPDATE image SET path = '/shop/x//2.jpg', state = 'quarantined', reason = 'file not found' WHERE id = 3",
            "UPDATE image SET path = 'b/../1.jpg', file = '/shop/1.jpg' WHERE id = 4",
            "UPDATE image SET path = 'link.jpg', file = '/shop/1.jpg' WHERE id = 5",
            "UPDATE image SET path = 'alone.jpg', file = '/shop/there.jpg' WHERE id = 6",
            "UPDATE product SET sku = 'caf\u00e9' WHERE id = 1",
            "UPDATE product SET sku = 'cafe\u0301', description = 'Soft' WHERE id = 2",
            "UPDATE product SET sku = '1009.0' WHERE id = 3",
            "UPDATE product SET sku = 'v1.0' WHERE id = 4",
            "INSERT INTO observation (image_id, column_id, voice_id, revision, raw) VALUES (4, 1, 2, 4, 'scoop')",
        ):
            connection.execute(text(change))
        connection.execute(text("UPDATE label_column SET observations = observations + 1 WHERE id = 1"))
    engine.dispose()
    return url


def test_images_and_products_that_differed_in_spelling_are_one_after_the_upgrade(spelt: str) -> None:
    migrate.upgrade(spelt)
    with Catalog.open(spelt) as catalog:
        found = {image.id: (image.path, image.sku, image.state) for image in catalog.labels.images()}
        assert found == {
            1: ("0.jpg", "caf\u00e9", "ok"),
            2: ("1.jpg", "caf\u00e9", "ok"),
            3: ("x/2.jpg", "1009", "quarantined"),
            4: ("b/../1.jpg", "v1.0", "quarantined"),
            5: ("link.jpg", "S-4", "quarantined"),
            6: ("alone.jpg", "S-5", "ok"),
        }
        one = catalog.labels.history("cafe\u0301", load_predictions)
        assert (one.split, [kept.image.description for kept in one.images]) == ("train", ["Soft", "Soft"])
        aside = catalog.labels.images([4, 5])
        assert {image.reason for image in aside} == {"the same file as image '1.jpg', which has its labels now"}
        # What was said of the second image before stays as it was: one voice has one word in a cell at one revision.
        said = {(o.attribute, o.source, o.raw) for o in one.images[1].observations}
        assert {("neckline", "import", "crew|scoop"), ("neckline", "supplier", "scoop")} <= said
        assert [o.raw for o in catalog.labels.history("v1.0", load_predictions).images[0].observations]
        engine = create_engine(spelt)
        with engine.connect() as connection:
            number = "(SELECT count(*) FROM observation WHERE column_id = label_column.id)"
            counted = connection.execute(text(f"SELECT observations, {number} FROM label_column")).all()
            digests = connection.execute(text("SELECT DISTINCT schema_digest FROM attribute")).scalars().all()
        engine.dispose()
        assert sorted(counted) == [(5, 5), (9, 9)]
        assert digests == ["read again"]
        assert catalog.labels.revision() == 8


def test_a_catalogue_without_odd_spellings_is_only_read_again(make_former: Callable[[str], str]) -> None:
    url = make_former("0008")
    migrate.upgrade(url)
    with Catalog.open(url) as catalog:
        assert catalog.labels.revision() == 7
        assert [image.path for image in catalog.labels.images()] == [f"{i}.jpg" for i in range(6)]
