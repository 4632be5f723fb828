"""Finding plugins, asking them and settling who owns what."""

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pluggy
import pytest
import torch
from torch import nn

from attributree import Attribute, SingleLabel, hookimpl
from attributree.errors import PluginError
from attributree.jsonable import jsonable
from attributree.plugins import LoadedPlugins, PluginInfo, load_plugins
from attributree.plugins.discovery import imported_files
from attributree.plugins.hookspecs import API_VERSION, attributree_after_sync, attributree_branch_head
from attributree.reports import Plan, SyncReport
from attributree.settings.models import PluginSettings
from attributree_drawn_shop import garment_attributes

#: The first-party distributions that declare attributes; others beside them bring commands, weights or a fixture.
DISTRIBUTIONS = sorted(
    path.parent
    for path in Path(__file__).parents[2].glob("plugins/*/pyproject.toml")
    if "attributree_attributes" in next(path.parent.glob("src/*/__init__.py")).read_text(encoding="utf-8")
)


def attribute(name: str) -> Attribute:
    return Attribute(name, SingleLabel(("yes", "no")))


def plugin(*names: str, head: Any = None, api: str | None = None) -> SimpleNamespace:
    """Return a plugin that declares attributes, and brings `head(attribute, in_features)` if one is given."""
    made = SimpleNamespace()
    if names:

        @hookimpl
        def attributree_attributes() -> list[Attribute]:
            return [attribute(name) for name in names]

        made.attributree_attributes = attributree_attributes
    if head is not None:

        @hookimpl
        def attributree_branch_head(attribute: Attribute, in_features: int) -> Any:
            return head(attribute, in_features)

        made.attributree_branch_head = attributree_branch_head
    if api is not None:

        @hookimpl
        def attributree_api() -> str:
            return api

        made.attributree_api = attributree_api
    return made


def load(settings: PluginSettings | None = None, /, **plugins: object) -> LoadedPlugins:
    return load_plugins(settings, entry_points=(), extra=plugins)


def info_of(loaded: LoadedPlugins, name: str) -> PluginInfo:
    (info,) = [info for info in loaded.plugins if info.name == name]
    return info


# --- what is loaded ----------------------------------------------------------------------------------------------


def test_without_plugins_nothing_is_declared_and_nothing_is_wrong() -> None:
    loaded = load()
    assert loaded.attributes == {}
    assert loaded.plugins == ()
    loaded.require_healthy()


def test_attributes_and_plugins_come_in_order_of_name() -> None:
    loaded = load(zeta=plugin("alpha", "omega"), beta=plugin("kappa"))
    assert list(loaded.attributes) == ["alpha", "kappa", "omega"]
    assert [info.name for info in loaded.plugins] == ["beta", "zeta"]
    assert loaded.declared_by == {"alpha": "zeta", "kappa": "beta", "omega": "zeta"}
    assert info_of(loaded, "zeta").attributes == ("alpha", "omega")


def test_each_call_makes_a_fresh_manager() -> None:
    made = plugin("lining")
    first, second = load(shop=made), load(shop=made)
    first.manager.unregister(name="shop")
    assert second.manager.has_plugin("shop")


def test_a_broken_plugin_is_not_left_in_the_manager() -> None:
    broken = SimpleNamespace(attributree_attributes=hookimpl(lambda: 1 / 0))
    loaded = load(broken=broken, shop=plugin("lining"))
    assert [name for name, _ in loaded.manager.list_name_plugin()] == ["shop"]


def test_a_plugin_that_forgot_to_mark_its_hook_is_told_so() -> None:
    forgetful = SimpleNamespace(attributree_attributes=lambda: [attribute("lining")])
    assert "put @attributree.hookimpl above it" in str(info_of(load(shop=forgetful), "shop").error)
    assert "implements no hook" in str(info_of(load(shop=SimpleNamespace()), "shop").error)
    assert "implements no hook" in str(info_of(load(shop=plugin(api=">=1")), "shop").error)


def test_a_hook_wrapper_is_refused_and_not_silently_left_out() -> None:
    @hookimpl(wrapper=True)
    def attributree_attributes():  # type: ignore[no-untyped-def]
        return (yield)

    loaded = load(shop=SimpleNamespace(attributree_attributes=attributree_attributes))
    assert "is a hook wrapper" in str(info_of(loaded, "shop").error)


def test_an_optional_hook_of_a_later_version_is_let_pass() -> None:
    made = plugin("lining")
    made.attributree_later = hookimpl(optionalhook=True)(lambda: None)
    load(shop=made).require_healthy()


@pytest.mark.parametrize("supported", [">=1,<2", "~=1.0", "==1.*", "", f"=={API_VERSION}"])
def test_a_range_that_includes_ours_is_fine(supported: str) -> None:
    loaded = load(shop=plugin("lining", api=supported))
    loaded.require_healthy()
    assert "lining" in loaded.attributes


def test_one_object_under_two_names_is_loaded_once() -> None:
    made = plugin("lining")
    loaded = load(a=made, b=made)
    assert [info.status for info in loaded.plugins] == ["ok", "failed"]
    assert "already registered as plugin 'a'" in str(loaded.problems[0].error)
    assert "lining" in loaded.attributes


class Hostile:
    """An object whose every attribute raises."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(f"do not touch my {name}")


def test_an_object_that_raises_when_it_is_looked_at_is_a_failed_plugin() -> None:
    loaded = load(hostile=Hostile(), shop=plugin("lining"))
    assert "raised RuntimeError: do not touch my" in str(info_of(loaded, "hostile").error)
    assert "lining" in loaded.attributes


def test_a_plugin_without_a_range_of_versions_is_fine_with_an_older_pluggy_too(monkeypatch: pytest.MonkeyPatch) -> None:
    newer = pluggy.PluginManager.parse_hookimpl_opts

    def older(self: pluggy.PluginManager, plugin: object, name: str) -> Any:
        getattr(plugin, name)  # before 1.7: AttributeError if it is not there
        return newer(self, plugin, name)

    monkeypatch.setattr(pluggy.PluginManager, "parse_hookimpl_opts", older)
    loaded = load(shop=plugin("lining"))
    assert info_of(loaded, "shop").status == "ok"
    assert set(loaded.attributes) == {"lining"}


def test_an_attribute_declared_twice_by_one_plugin_is_dropped() -> None:
    loaded = load(shop=plugin("lining", "lining", "closure"))
    assert set(loaded.attributes) == {"closure"}
    assert "'lining' is declared more than once" in str(info_of(loaded, "shop").error)


def test_a_plugin_as_json_has_the_promised_keys() -> None:
    assert jsonable(info_of(load(shop=plugin("lining")), "shop")) == {
        "name": "shop",
        "distribution": None,
        "version": None,
        "attributes": ["lining"],
        "status": "ok",
        "error": None,
    }


def test_a_trace_of_the_failure_is_printed_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = SimpleNamespace(attributree_attributes=hookimpl(lambda: 1 / 0))
    load(shop=broken)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("ATTRIBUTREE_TRACE_PLUGINS", "1")
    load(shop=broken)
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_loading_plugins_imports_no_torch() -> None:
    code = "import sys, attributree.plugins as p; p.load_plugins(entry_points=()); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- choosing ----------------------------------------------------------------------------------------------------


def test_a_disabled_plugin_is_listed_and_never_imported(tmp_path: Path) -> None:
    (tmp_path / "lining.py").write_text("raise AssertionError('was imported')")
    settings = PluginSettings(disabled=("lining",), plugin_dirs=(tmp_path,))
    loaded = load(settings)
    assert info_of(loaded, "lining").status == "disabled"
    assert loaded.problems == ()
    loaded.require_healthy()


def test_disabling_one_of_two_rivals_gives_the_attribute_to_the_other() -> None:
    loaded = load(PluginSettings(disabled=("first",)), first=plugin("lining"), second=plugin("lining"))
    loaded.require_healthy()
    assert loaded.declared_by == {"lining": "second"}


@pytest.mark.parametrize("name", ["shop-lining", "Shop_Lining", "shop.lining", "lining"])
def test_a_plugin_answers_to_its_name_and_to_its_distributions_however_it_is_spelt(name: str) -> None:
    assert PluginInfo("lining", "shop-lining", "1.0").answers_to(name)
    assert not PluginInfo("closure", "shop-closure", "1.0").answers_to(name)


def test_a_name_in_disabled_that_nobody_answers_to_is_kept_for_the_doctor() -> None:
    loaded = load(PluginSettings(disabled=("linning", "shop")), shop=plugin("lining"))
    assert loaded.unmatched == ("linning",)


def test_a_required_plugin_that_works_is_no_error() -> None:
    load(PluginSettings(require=("shop",)), shop=plugin("lining"))


def test_every_required_plugin_that_is_missing_disabled_or_broken_is_named() -> None:
    settings = PluginSettings(require=("absent", "off", "broken", "shop"), disabled=("off",))
    broken = SimpleNamespace(attributree_attributes=hookimpl(lambda: 1 / 0))
    with pytest.raises(PluginError) as caught:
        load(settings, off=plugin("closure"), broken=broken, shop=plugin("lining"))
    missing, disabled, failed = str(caught.value).splitlines()
    assert "'absent' is not there" in missing
    assert "plugin 'off' is disabled" in disabled
    assert "plugin 'broken' is failed: raised ZeroDivisionError" in failed


# --- one-file plugins --------------------------------------------------------------------------------------------

ONE_FILE = """
from attributree import Attribute, SingleLabel, hookimpl

@hookimpl
def attributree_attributes():
    return [Attribute("lining", SingleLabel(("lined", "unlined")))]
"""


def test_a_file_in_a_plugin_folder_is_a_plugin(tmp_path: Path) -> None:
    (tmp_path / "lining.py").write_text(ONE_FILE)
    (tmp_path / "_helper.py").write_text("raise AssertionError('was imported')")
    (tmp_path / "notes.txt").write_text("no plugin")

    loaded = load(PluginSettings(plugin_dirs=(tmp_path, tmp_path / ".")))

    (info,) = loaded.plugins
    assert (info.name, info.status) == ("lining", "ok")
    assert info.distribution == str(tmp_path / "lining.py")
    assert loaded.declared_by == {"lining": str(tmp_path / "lining.py")}


def test_a_file_shadows_no_module_and_files_of_one_name_do_not_meet(tmp_path: Path) -> None:
    for folder, name in (("a", "lining"), ("b", "closure")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "json.py").write_text(ONE_FILE.replace("lining", name))
    loaded = load(PluginSettings(plugin_dirs=(tmp_path / "a", tmp_path / "b")))
    loaded.require_healthy()
    assert set(loaded.attributes) == {"lining", "closure"}
    assert "attributree" not in str(sys.modules["json"].__file__)


def test_a_file_that_fails_leaves_no_module_behind(tmp_path: Path) -> None:
    (tmp_path / "broken_one.py").write_text("1 / 0")
    loaded = load(PluginSettings(plugin_dirs=(tmp_path,)))
    assert "raised ZeroDivisionError" in str(loaded.problems[0].error)
    assert f"{tmp_path / 'broken_one.py'}:1" in str(loaded.problems[0].error)
    assert not [name for name in sys.modules if name.endswith("broken_one")]


def test_a_plugin_folder_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    loaded = load(PluginSettings(plugin_dirs=(tmp_path / "none",)), shop=plugin("lining"))
    assert "no such folder" in str(loaded.problems[0].error)
    assert "lining" in loaded.attributes


def test_an_edited_file_is_read_anew_by_the_next_load(tmp_path: Path) -> None:
    file = tmp_path / "lining.py"
    file.write_text(ONE_FILE)
    load(PluginSettings(plugin_dirs=(tmp_path,)))
    file.write_text(ONE_FILE.replace('"lining"', '"closure_kind"'))
    assert set(load(PluginSettings(plugin_dirs=(tmp_path,))).attributes) == {"closure_kind"}


def test_a_file_that_is_gone_is_not_imported_again_in_other_processes(tmp_path: Path) -> None:
    for name in ("kept", "gone"):
        (tmp_path / f"{name}.py").write_text(ONE_FILE.replace("lining", name))
    load(PluginSettings(plugin_dirs=(tmp_path,)))
    assert {file.name for file in imported_files() if file.parent == tmp_path} == {"gone.py", "kept.py"}
    (tmp_path / "gone.py").unlink()
    assert [file.name for file in imported_files() if file.parent == tmp_path] == ["kept.py"]


# --- heads -------------------------------------------------------------------------------------------------------


def brought(loaded: LoadedPlugins, name: str) -> Any:
    return loaded.first(attributree_branch_head, loaded.attributes[name], in_features=8)


def linear_head(attribute: Attribute, in_features: int) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(in_features, attribute.labels.outputs))


def test_a_plugin_brings_the_head_of_its_own_attribute() -> None:
    loaded = load(shop=plugin("lining", head=linear_head))
    answer = brought(loaded, "lining")
    assert answer is not None
    assert answer.value(torch.zeros(3, 8, 4, 4)).shape == (3, 2)
    assert answer.plugin.owner == "shop"


def test_a_plugin_without_the_hook_or_that_answers_none_leaves_the_standard_head() -> None:
    loaded = load(a=plugin("lining"), b=plugin("closure", head=lambda attribute, in_features: None))
    assert brought(loaded, "lining") is brought(loaded, "closure") is None


def test_a_plugin_that_never_looks_at_the_attribute_puts_its_head_on_no_other_branch() -> None:
    loaded = load(a=plugin("lining", head=linear_head), b=plugin("closure"))
    assert brought(loaded, "closure") is None


def test_a_plugin_of_heads_alone_is_asked_where_the_attributes_own_plugin_brings_none() -> None:
    general = plugin(head=lambda attribute, in_features: nn.Identity())
    loaded = load(a=general, b=plugin("lining", head=linear_head), c=plugin("closure"))
    loaded.require_healthy()
    assert brought(loaded, "closure").plugin.name == "a"
    assert brought(loaded, "lining").plugin.name == "b"


def test_of_two_plugins_of_heads_the_first_in_order_of_name_answers() -> None:
    general = [plugin(head=lambda attribute, in_features: nn.Identity()) for _ in range(2)]
    loaded = load(zeta=general[0], alpha=general[1], shop=plugin("lining"))
    assert brought(loaded, "lining").plugin.name == "alpha"


def test_a_default_value_in_the_plugins_signature_does_not_win_over_the_real_argument() -> None:
    @hookimpl
    def attributree_branch_head(in_features: int = 3) -> nn.Module:
        return nn.Linear(in_features, 1)

    made = plugin("lining")
    made.attributree_branch_head = attributree_branch_head
    loaded = load(shop=made)
    head = brought(loaded, "lining").value
    assert isinstance(head, nn.Linear)
    assert head.in_features == 8


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (lambda attribute, in_features: 1 / 0, "raised ZeroDivisionError"),
        (lambda attribute, in_features: sys.exit(2), r"called sys.exit\(2\)"),
        (lambda attribute, in_features: "a head", "returned str, not a torch.nn.Module"),
        (lambda attribute, in_features: nn.Linear, "returned the class Linear, not a torch.nn.Module"),
    ],
)
def test_a_head_that_cannot_be_had_is_an_error_that_names_the_plugin(head: Any, reason: str) -> None:
    loaded = load(shop=plugin("lining", head=head))
    with pytest.raises(PluginError, match=f"plugin 'shop': .*{reason}"):
        brought(loaded, "lining")


# --- every answer ------------------------------------------------------------------------------------------------


def test_all_plugins_are_asked_with_a_copy_of_their_own_and_failures_are_told_apart() -> None:
    report = SyncReport(Plan())
    given: list[SyncReport] = []
    plugins = {name: plugin(name) for name in ("lining", "hem", "closure")}
    for name in ("lining", "closure"):
        plugins[name].attributree_after_sync = hookimpl(lambda report: given.append(report))
    plugins["hem"].attributree_after_sync = hookimpl(lambda: sys.exit(4))
    answers, problems = load(**plugins).each(attributree_after_sync, " of today", report=report)
    assert [answer.plugin.name for answer in answers] == ["closure", "lining"]
    assert problems == ["plugin 'hem': called sys.exit(4) in attributree_after_sync of today"]
    assert given == [report, report]
    assert len({id(one) for one in (report, *given)}) == 3


# --- the distributions of this repository ------------------------------------------------------------------------


@pytest.fixture(params=DISTRIBUTIONS, ids=lambda folder: folder.name)
def distribution(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.param
    return folder


@pytest.fixture
def own_module(distribution: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(distribution / "src")
    return import_module(distribution.name.replace("-", "_"))


def test_there_are_distributions() -> None:
    names = "closure collar colour dresses hem-length jeans neckline occasion pattern silhouette sleeves"
    assert {folder.name for folder in DISTRIBUTIONS} >= {f"attributree-{name}" for name in names.split()}


def test_a_distribution_names_itself_its_module_and_our_version(distribution: Path) -> None:
    project = tomllib.loads((distribution / "pyproject.toml").read_text())["project"]
    assert project["name"] == distribution.name
    assert project["dependencies"] == ["attributree>=0.1,<0.2"]
    (module,) = project["entry-points"]["attributree"].values()
    assert (distribution / "src" / module / "__init__.py").is_file()
    assert (distribution / project["readme"]).is_file()


def test_a_distribution_loads_declares_and_documents_every_value(distribution: Path, own_module: ModuleType) -> None:
    loaded = load(own=own_module)
    loaded.require_healthy()
    assert loaded.attributes or loaded.article_types
    readme = (distribution / "README.md").read_text()
    for declared in loaded.attributes.values():
        assert declared.description
        for key in declared.labels.keys:
            assert f"`{key}`" in readme


def test_the_distributions_do_not_clash(monkeypatch: pytest.MonkeyPatch) -> None:
    modules: dict[str, object] = {}
    for folder in DISTRIBUTIONS:
        monkeypatch.syspath_prepend(folder / "src")
        modules[folder.name] = import_module(folder.name.replace("-", "_"))
    load(**modules).require_healthy()


def test_the_distributions_read_every_word_of_the_synthetic_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in DISTRIBUTIONS:
        monkeypatch.syspath_prepend(folder / "src")
    names = [folder.name.replace("-", "_") for folder in DISTRIBUTIONS]
    declared = load(**{name: import_module(name) for name in names}).attributes
    # The plain catalogue's column hem is nobody's: the plugin that documentation writes step by step is for it.
    plain = [attribute for attribute in garment_attributes() if attribute.name in declared]
    assert {attribute.name for attribute in plain} == {"neckline", "sleeve_length", "pattern", "colour", "wash"}
    for attribute in (*plain, *garment_attributes(detailed=True)):
        ours = declared[attribute.name]
        assert (ours.labels.kind, ours.applies_to) == (attribute.labels.kind, attribute.applies_to)
        for value in attribute.labels.values:
            for text in value.spellings:
                found = ours.labels.find(text)
                assert found is not None, (attribute.name, text)
                assert found.key == value.key
