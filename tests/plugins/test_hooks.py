"""What plugins answer to each hook: taken as promised, refused with their name otherwise."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest

from attributree import ArticleType, Attribute, Augmentation, SingleLabel, hookimpl
from attributree.cli.group import plugin_commands
from attributree.errors import PluginError, SchemaError
from attributree.plugins import LoadedPlugins, load_plugins
from attributree.plugins.hookspecs import attributree_after_sync, attributree_normalize_label
from attributree.reports import Plan, Result, SyncReport


def plugin(*names: str, **hooks: Callable[..., Any]) -> SimpleNamespace:
    """Return a plugin that declares attributes and implements `attributree_KEY` for each other argument."""
    made = {f"attributree_{name}": hookimpl(hook) for name, hook in hooks.items()}
    if names:
        made["attributree_attributes"] = hookimpl(
            lambda: [Attribute(name, SingleLabel(("yes", "no"))) for name in names]
        )
    return SimpleNamespace(**made)


def load(**plugins: object) -> LoadedPlugins:
    return load_plugins(entry_points=(), extra=plugins)


def normalized(loaded: LoadedPlugins, text: str) -> str | None:
    answer = loaded.first(attributree_normalize_label, loaded.attributes["lining"], text=text)
    return answer and answer.value


def fails(attribute: Attribute) -> Any:
    raise ValueError("boom")


# --- attributree_augmentation ------------------------------------------------------------------------------------


def test_an_augmentation_is_asked_for_once_and_of_an_attributes_own_plugin_first() -> None:
    asked: list[str] = []

    def own(attribute: Attribute) -> Augmentation | None:
        asked.append(attribute.name)
        return Augmentation(flip=False) if attribute.name == "side" else None

    loaded = load(
        shop=plugin("side", "lining", augmentation=own), a=plugin(augmentation=lambda: Augmentation(crop=False))
    )
    assert loaded.augmentations == {"side": Augmentation(flip=False), "lining": Augmentation(crop=False)}
    assert asked == ["lining", "side"]
    loaded.require_healthy()


def test_attributes_that_no_plugin_declares_are_asked_about_too() -> None:
    own = {"hem": Attribute("hem", SingleLabel(("yes", "no")))}
    loaded = load(a=plugin(augmentation=lambda: Augmentation(crop=False))).with_attributes(own, "catalogue")
    assert loaded.augmentations == {"hem": Augmentation(crop=False)}
    assert loaded.declared_by == {"hem": "catalogue"}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (fails, "raised ValueError: boom in attributree_augmentation for attribute 'side'"),
        (lambda attribute: sys.exit(3), r"called sys.exit\(3\) in attributree_augmentation"),
        (lambda attribute: False, "returned bool, not an attributree.Augmentation"),
        (lambda attribute: Augmentation(flip=0), "flip must be True or False, not 0"),  # type: ignore[arg-type]
    ],
)
def test_an_augmentation_that_cannot_be_had_is_reported_and_nothing_is_done_to_images(answer: Any, reason: str) -> None:
    loaded = load(shop=plugin("side", augmentation=answer), other=plugin("lining"))
    with pytest.raises(PluginError, match=f"(?s)plugin 'shop': .*{reason}.*trained without augmentation"):
        loaded.require_healthy()
    assert loaded.augmentations == {"side": Augmentation(flip=False, crop=False)}
    assert set(loaded.attributes) == {"lining", "side"}


def test_an_augmentation_is_made_of_truths() -> None:
    with pytest.raises(SchemaError, match="crop must be True or False, not 'no'"):
        Augmentation(crop="no")  # type: ignore[arg-type]


# --- attributree_article_types -----------------------------------------------------------------------------------


def test_article_types_come_with_those_that_attributes_name() -> None:
    words = [ArticleType("coat", ("macs",))]
    own = SimpleNamespace(
        attributree_attributes=hookimpl(
            lambda: [Attribute("lining", SingleLabel(("yes", "no")), applies_to=("coat", "jacket"))]
        )
    )
    loaded = load(a=plugin(article_types=lambda: iter(words)), shop=own, z=plugin("side"))
    assert loaded.article_types == {"a": tuple(words), "shop": (ArticleType("coat"), ArticleType("jacket"))}
    loaded.require_healthy()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda: 1 / 0, "raised ZeroDivisionError: division by zero in attributree_article_types"),
        (lambda: sys.exit(3), r"called sys.exit\(3\) in attributree_article_types"),
        (lambda: {"coat": "macs"}, "returned dict, not a list of ArticleType"),
        (lambda: ["coat"], "returned a list that holds 'coat', not an ArticleType"),
        (lambda: [ArticleType("coat", "macs")], r"words must be a tuple of strings, not 'macs'"),
        (lambda: [ArticleType("a", ("mac",)), ArticleType("b", ("macs",))], "'macs' is a word of 'a' already"),
        (lambda: [ArticleType("a", below=("a",))], "stand below themselves"),
    ],
)
def test_words_that_cannot_be_had_are_reported_and_the_plugins_attributes_work(answer: Any, reason: str) -> None:
    loaded = load(shop=plugin("lining", article_types=answer), other=plugin(article_types=lambda: [ArticleType("mac")]))
    with pytest.raises(PluginError, match=f"plugin 'shop': .*{reason}.*its words for article types are not used"):
        loaded.require_healthy()
    assert loaded.article_types == {"other": (ArticleType("mac"),)}
    assert set(loaded.attributes) == {"lining"}


# --- attributree_normalize_label ---------------------------------------------------------------------------------


def test_the_attributes_own_plugin_is_asked_about_a_text_first() -> None:
    own = plugin("lining", normalize_label=lambda attribute, text: {"y": "yes"}.get(text))
    loaded = load(shop=own, a=plugin(normalize_label=lambda text: text.strip("!")))
    assert [normalized(loaded, text) for text in ("y", "no!")] == ["yes", "no"]


def test_who_normalizes_is_part_of_the_schema() -> None:
    plain = load(shop=plugin("lining")).attributes["lining"]
    read = load(shop=plugin("lining", normalize_label=lambda: None)).attributes["lining"]
    assert (plain.normalized_by, read.normalized_by) == ("", "shop")
    assert plain.digest != read.digest
    assert Attribute.from_json(read.to_json()) == read
    assert "normalized_by" not in plain.to_json()


def test_another_content_of_a_one_file_plugin_is_another_schema(tmp_path: Path) -> None:
    settings = SimpleNamespace(disabled=(), require=(), plugin_dirs=(tmp_path,), allow=())
    source = """
from attributree import Attribute, SingleLabel, hookimpl

@hookimpl
def attributree_attributes():
    return [Attribute("lining", SingleLabel(("yes", "no")))]

@hookimpl
def attributree_normalize_label(text):
    return None
"""
    digests = set()
    for end in ("", "", "# mended\n"):
        (tmp_path / "lining.py").write_text(source + end)
        attribute = load_plugins(settings, entry_points=()).attributes["lining"]
        assert attribute.normalized_by.startswith("lining.py ")
        digests.add(attribute.digest)
    assert len(digests) == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda text: 1 / 0, "raised ZeroDivisionError: division by zero in attributree_normalize_label for attribute"),
        (lambda text: sys.exit(), r"called sys.exit\(None\)"),
        (lambda text: 7, "returned int, not a string or None"),
    ],
)
def test_a_text_in_which_a_plugin_fails_is_an_error_that_names_it(answer: Any, reason: str) -> None:
    loaded = load(shop=plugin("lining", normalize_label=answer))
    with pytest.raises(PluginError, match=f"plugin 'shop': .*{reason}"):
        normalized(loaded, "y")


# --- attributree_catalog_source ----------------------------------------------------------------------------------


def test_rows_come_from_the_plugin_that_knows_the_file_one_at_a_time() -> None:
    read: list[int] = []

    def rows() -> Iterator[dict[str, object]]:
        for i in range(3):
            read.append(i)
            yield {"image": f"{i}.jpg"}

    loaded = load(
        a=plugin(catalog_source=lambda path: rows() if path.suffix == ".feed" else None),
        b=plugin("lining", catalog_source=lambda path: None),
    )
    assert loaded.catalog_rows(Path("x.xlsx")) is None
    found = loaded.catalog_rows(Path("x.feed"))
    assert found is not None
    assert next(found) == {"image": "0.jpg"}
    assert read == [0]
    assert len(list(found)) == 2


def test_a_file_that_two_plugins_read_is_refused_and_both_are_named() -> None:
    loaded = load(a=plugin(catalog_source=lambda path: [path]), b=plugin(catalog_source=lambda path: [path]))
    with pytest.raises(PluginError, match=r"x.feed is read by plugin 'a' and plugin 'b'; name one of them in `disa"):
        loaded.catalog_rows(Path("x.feed"))


def broken_rows() -> Iterator[dict[str, object]]:
    yield {"image": "1.jpg"}
    raise KeyError("photo")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda: 1 / 0, "raised ZeroDivisionError: division by zero in attributree_catalog_source for x.feed"),
        (lambda: "rows", "returned str, not rows or None"),
        (lambda: {"image": "1.jpg"}, "returned dict, not rows or None"),
        (lambda: ["1.jpg"], "yielded str, not a mapping of columns to cells"),
        (lambda: [{1: "1.jpg"}], "yielded a row whose column 1 is not a string"),
        (broken_rows, "raised KeyError: 'photo' in attributree_catalog_source at row 2 of x.feed"),
        (lambda: map(sys.exit, [4]), r"called sys.exit\(4\) in attributree_catalog_source at row 1 of x.feed"),
    ],
)
def test_rows_that_cannot_be_had_are_an_error_that_names_the_plugin(answer: Any, reason: str) -> None:
    loaded = load(shop=plugin(catalog_source=lambda: answer()))
    with pytest.raises(PluginError, match=f"plugin 'shop': .*{reason}"):
        list(loaded.catalog_rows(Path("x.feed")) or ())


def test_a_source_that_is_a_generator_is_refused_since_it_would_claim_every_file() -> None:
    loaded = load(shop=plugin(catalog_source=broken_rows), other=plugin("lining"))
    assert "is a generator and cannot return None" in str(loaded.problems[0].error)
    assert "lining" in loaded.attributes


# --- attributree_commands ----------------------------------------------------------------------------------------


def test_commands_of_all_plugins_are_collected_and_clashes_are_named() -> None:
    def commands(*names: str) -> Callable[[], list[click.Command]]:
        return lambda: [click.Command(name) for name in names]

    loaded = load(
        a=plugin(commands=commands("export", "status")),
        b=plugin("lining", commands=commands("audit", "push")),
        c=plugin(commands=commands("push")),
    )
    found, problems = plugin_commands(loaded, ("status", "sync-catalog"))
    assert list(found) == ["audit", "export"]
    assert problems == [
        "plugin 'b' and plugin 'c': the command 'push' is there more than once; none of them is used",
        "plugin 'a': the command 'status' is attributree's own; theirs is left out",
    ]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda: 1 / 0, "raised ZeroDivisionError"),
        (lambda: None, "attributree_commands returned NoneType, not a list of click commands"),
        (lambda: [print], "returned a list that holds <built-in function print>, not a click command"),
        (lambda: [click.Command(None)], "returned a command without a name"),
    ],
)
def test_commands_that_are_none_are_named_and_the_others_are_there(answer: Any, reason: str) -> None:
    loaded = load(shop=plugin(commands=answer), other=plugin(commands=lambda: [click.Command("export")]))
    found, problems = plugin_commands(loaded, ())
    assert list(found) == ["export"]
    (problem,) = problems
    assert problem.startswith("plugin 'shop': ")
    assert reason in problem


# --- attributree_after_sync --------------------------------------------------------------------------------------


def test_every_plugin_is_told_of_a_sync_with_a_copy_of_its_own() -> None:
    seen: list[SyncReport] = []

    def spoil(report: SyncReport) -> None:
        report.results[0].metrics["val"] = "spoilt"

    def fail(report: SyncReport) -> None:
        raise ConnectionError("no network")

    sent = SyncReport(Plan(), (Result("lining", "grow", "promoted", "fine", metrics={"val": 0.9}),), version=3)
    told = load(
        a=plugin(after_sync=spoil), b=plugin(after_sync=fail), c=plugin(after_sync=lambda report: seen.append(report))
    )
    _, (problem,) = told.each(attributree_after_sync, report=sent)
    assert problem.startswith("plugin 'b': raised ConnectionError: no network in attributree_after_sync")
    assert seen == [sent]
    assert seen[0] is not sent


@pytest.mark.parametrize(
    ("status", "something"),
    [("promoted", True), ("rejected", True), ("failed", True), ("blocked", False), ("skipped", False)],
)
def test_a_sync_did_something_if_it_trained(status: str, something: bool) -> None:
    report = SyncReport(Plan(), (Result("lining", "grow", status, "so"),))
    assert report.did_something is something
    assert not SyncReport(Plan(), report.results, dry_run=True).did_something


# --- tracing -----------------------------------------------------------------------------------------------------


def test_a_trace_shows_each_call_with_arguments_answer_and_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = plugin("lining", normalize_label=lambda attribute, text: "yes", augmentation=lambda: Augmentation())
    loaded = load(shop=made)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("ATTRIBUTREE_TRACE_PLUGINS", "1")
    loaded = load(shop=made, torn=plugin(commands=lambda: 1 / 0))
    normalized(loaded, "y" * 100)
    plugin_commands(loaded, ())
    err = capsys.readouterr().err
    lines = [line.rpartition(" in ")[0] for line in err.splitlines() if line.startswith("trace: ")]
    assert lines == [
        "trace: plugin 'shop': import() -> SimpleNamespace",
        "trace: plugin 'shop': attributree_attributes() -> [lining]",
        "trace: plugin 'torn': import() -> SimpleNamespace",
        "trace: plugin 'shop': attributree_augmentation() -> Augmentation(flip=True, crop=True)",
        f"trace: plugin 'shop': attributree_normalize_label(attribute=lining, text='{'y' * 56}...) -> 'yes'",
        "trace: plugin 'torn': attributree_commands() -> raised ZeroDivisionError",
    ]
    assert all(line.endswith(" ms") for line in err.splitlines() if line.startswith("trace: "))
    assert "Traceback (most recent call last)" in err
    monkeypatch.setenv("ATTRIBUTREE_TRACE_PLUGINS", "0")
    load(shop=made)
    assert capsys.readouterr().err == ""


def test_a_plugin_cannot_take_a_reserved_column_in_another_spelling() -> None:
    (info,) = load(taken=plugin("Title")).plugins
    assert info.status != "ok"
    assert "attribute 'Title' is read as the reserved column 'title'" in str(info.error)
