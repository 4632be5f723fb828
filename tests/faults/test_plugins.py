"""Faults 23 to 30: a broken distribution is reported with its reason, and the others work.

Each plugin here is a distribution as an installer leaves it: a module and a .dist-info folder on sys.path.
"""

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest

from attributree.errors import PluginError
from attributree.plugins import LoadedPlugins, PluginInfo, load_plugins
from attributree.plugins.hookspecs import API_VERSION
from support.projects import Project

Install = Callable[..., None]

HEALTHY = """
    from attributree import Attribute, SingleLabel, hookimpl

    @hookimpl
    def attributree_attributes():
        return [Attribute("lining", SingleLabel(("lined", "unlined")))]
"""


def declaring(name: str, labels: str = 'SingleLabel(("yes", "no"))') -> str:
    """Return the source of a plugin that declares one attribute."""
    return f"""
        from attributree import Attribute, MultiLabel, Ordinal, SingleLabel, Value, hookimpl

        @hookimpl
        def attributree_attributes():
            return [Attribute({name!r}, {labels})]
    """


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages, the first on sys.path."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if name.startswith("plug_"):
            del sys.modules[name]


@pytest.fixture
def install(site: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs plugins; those of the environment that the tests run in are out of sight."""
    found = metadata.distributions

    def only_ours() -> list[metadata.Distribution]:
        return [d for d in found() if "[attributree]" not in (d.read_text("entry_points.txt") or "") or is_ours(d)]

    def is_ours(distribution: metadata.Distribution) -> bool:
        return str(distribution.metadata["Name"]).lower().startswith("shop")

    monkeypatch.setattr("attributree.plugins.discovery.metadata.distributions", only_ours)

    def install(name: str, source: str, version: str = "1.2.3") -> None:
        module = f"plug_{name}"
        (site / f"{module}.py").write_text(textwrap.dedent(source))
        info = site / f"shop_{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: shop-{name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[attributree]\n{name} = {module}\n")
        (info / "RECORD").write_text("")

    return install


def info_of(loaded: LoadedPlugins, name: str) -> PluginInfo:
    (info,) = [info for info in loaded.plugins if info.name == name]
    return info


def assert_only_this_one_is_broken(loaded: LoadedPlugins, name: str, reason: str, status: str = "failed") -> None:
    """The culprit is listed with its distribution and the reason; the healthy plugin works; --strict fails."""
    culprit = info_of(loaded, name)
    assert (culprit.status, culprit.distribution, culprit.version) == (status, f"shop-{name}", "1.2.3")
    assert culprit.error is not None
    assert reason in culprit.error
    assert info_of(loaded, "healthy").status == "ok"
    assert loaded.attributes["lining"].labels.keys == ("lined", "unlined")
    assert loaded.declared_by["lining"] == "shop-healthy"
    assert culprit in loaded.problems
    with pytest.raises(PluginError) as caught:
        loaded.require_healthy()
    assert f"shop-{name} 1.2.3" in str(caught.value)
    assert reason in str(caught.value)
    assert "shop-healthy" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('no licence')", "raised RuntimeError: no licence on import"),
        ("import a_library_that_is_not_there", "No module named 'a_library_that_is_not_there' on import"),
        ("from attributree import NotYetInvented", "cannot import name 'NotYetInvented'"),
        ("def broken(:", "raised SyntaxError"),
        ("1 / 0", "raised ZeroDivisionError"),
        ("class Odd(BaseException): pass\nraise Odd('odd')", "raised Odd: odd on import"),
        ("def deeper(): deeper()\ndeeper()", "raised RecursionError"),
    ],
)
def test_23_a_plugin_that_raises_on_import_is_reported_and_the_others_work(
    install: Install, source: str, reason: str
) -> None:
    install("healthy", HEALTHY)
    install("culprit", source)
    assert_only_this_one_is_broken(load_plugins(), "culprit", reason)


def test_23_the_place_in_the_source_is_named(install: Install, site: Path) -> None:
    install("healthy", HEALTHY)
    install("culprit", "\n\nraise RuntimeError('no licence')")
    assert_only_this_one_is_broken(load_plugins(), "culprit", f"({site / 'plug_culprit.py'}:3)")


def test_23_a_distribution_whose_module_is_missing_is_reported(install: Install, site: Path) -> None:
    install("healthy", HEALTHY)
    install("culprit", "")
    (site / "plug_culprit.py").unlink()
    assert_only_this_one_is_broken(load_plugins(), "culprit", "No module named 'plug_culprit'")


def test_23_a_distribution_with_malformed_entry_points_is_reported(install: Install, site: Path) -> None:
    install("healthy", HEALTHY)
    install("culprit", HEALTHY)
    (site / "shop_culprit-1.2.3.dist-info" / "entry_points.txt").write_text("[attributree]\nno equals sign\n")
    loaded = load_plugins()
    (culprit,) = [info for info in loaded.plugins if info.distribution == "shop-culprit"]
    assert culprit.status == "failed"
    assert "malformed" in str(culprit.error)
    assert "lining" in loaded.attributes


def test_23_malformed_entry_points_of_somebody_else_are_nothing_to_us(install: Install, site: Path) -> None:
    install("healthy", HEALTHY)
    info = site / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[console_scripts]\nno equals sign\n")
    loaded = load_plugins()
    assert "lining" in loaded.attributes
    assert all(info.distribution != "stranger" for info in loaded.plugins)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise ValueError('boom')", "raised ValueError: boom in attributree_attributes"),
        ("return 3", "attributree_attributes returned int, not a list of Attribute"),
        ("return None", "attributree_attributes returned NoneType, not a list of Attribute"),
        ("return 'neckline'", "attributree_attributes returned str, not a list of Attribute"),
        ("return {'neckline': 1}", "attributree_attributes returned dict, not a list of Attribute"),
        ("return ['neckline']", "returned a list that holds 'neckline', not an Attribute"),
        ("return Attribute('closure', SingleLabel(('zip', 'button')))", "return a list: [Attribute(...)]"),
        ("yield Attribute('closure', SingleLabel(('zip', 'button'))); 1 / 0", "raised ZeroDivisionError"),
    ],
)
def test_24_a_plugin_that_raises_or_answers_nonsense_in_a_hook_is_reported(
    install: Install, body: str, reason: str
) -> None:
    install("healthy", HEALTHY)
    install(
        "culprit",
        f"""
            from attributree import Attribute, SingleLabel, hookimpl

            @hookimpl
            def attributree_attributes():
                {body}
        """,
    )
    loaded = load_plugins()
    assert_only_this_one_is_broken(loaded, "culprit", reason)
    assert "closure" not in loaded.attributes


@pytest.mark.parametrize(
    ("hook", "reason"),
    [
        ("def attributree_atributes(): return []", "attributree_atributes is not a hook; did you mean"),
        ("def attributree_branch_heads(attribute): return None", "did you mean attributree_branch_head?"),
        ("def attributree_attributes(settings): return []", "settings"),
        ("def attributree_branch_head(attribute, features): return None", "features"),
    ],
)
def test_24_a_misspelt_hook_or_argument_is_an_error(install: Install, hook: str, reason: str) -> None:
    install("healthy", HEALTHY)
    install("culprit", f"from attributree import hookimpl\n@hookimpl\n{hook}\n")
    assert_only_this_one_is_broken(load_plugins(), "culprit", reason)


@pytest.mark.parametrize("code", ["3", "None", "'go away'"])
def test_25_a_plugin_that_exits_on_import_does_not_end_the_process(install: Install, code: str) -> None:
    install("healthy", HEALTHY)
    install("culprit", f"import sys\nsys.exit({code})")
    assert_only_this_one_is_broken(load_plugins(), "culprit", f"called sys.exit({code}) on import")


def test_25_a_plugin_that_exits_in_a_hook_does_not_end_the_process(install: Install) -> None:
    install("healthy", HEALTHY)
    install(
        "culprit",
        """
            import sys
            from attributree import hookimpl

            @hookimpl
            def attributree_attributes():
                sys.exit(1)
        """,
    )
    assert_only_this_one_is_broken(load_plugins(), "culprit", "called sys.exit(1) in attributree_attributes")


def test_25_control_c_while_a_plugin_is_imported_still_ends_the_process(install: Install) -> None:
    install("culprit", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load_plugins()


@pytest.mark.parametrize(
    ("name", "labels", "reason"),
    [
        ("closure", "SingleLabel(())", "SingleLabel: values has 0 entries"),
        ("closure", 'SingleLabel(("zip", "zip"))', "value 'zip' is declared twice"),
        ("closure", 'SingleLabel((Value("zip", synonyms=("z",)), Value("b", synonyms=("Z",))))', "both 'zip' and 'b'"),
        ("forward", 'SingleLabel(("yes", "no"))', "attribute 'forward': name cannot be a module key"),
        ("two words", 'SingleLabel(("yes", "no"))', "attribute 'two words': name must be an identifier"),
        ("sku", 'SingleLabel(("yes", "no"))', "attribute 'sku': name is a reserved column"),
    ],
)
def test_26_a_bad_schema_is_rejected_with_its_field(install: Install, name: str, labels: str, reason: str) -> None:
    install("healthy", HEALTHY)
    install("culprit", declaring(name, labels))
    loaded = load_plugins()
    assert_only_this_one_is_broken(loaded, "culprit", reason)
    assert name not in loaded.attributes


@pytest.mark.parametrize("other", ["closure", "Closure", "CLOSURE"])
def test_27_an_attribute_that_two_plugins_declare_is_given_to_neither_and_both_are_named(
    install: Install, other: str
) -> None:
    install("healthy", HEALTHY)
    install("first", declaring("closure"))
    install("second", declaring(other))

    loaded = load_plugins()

    assert set(loaded.attributes) == {"lining"}
    first, second = info_of(loaded, "first"), info_of(loaded, "second")
    assert first.status == second.status == "failed"
    assert "shop-second 1.2.3" in str(first.error)
    assert "shop-first 1.2.3" in str(second.error)
    with pytest.raises(PluginError, match=r"(?s)shop-first.*shop-second"):
        loaded.require_healthy()


def test_27_what_the_rivals_declare_besides_works(install: Install) -> None:
    install("first", declaring("closure"))
    install(
        "second",
        """
            from attributree import Attribute, SingleLabel, hookimpl

            @hookimpl
            def attributree_attributes():
                names = ("closure", "pockets")
                return [Attribute(name, SingleLabel(("yes", "no"))) for name in names]
        """,
    )
    loaded = load_plugins()
    assert set(loaded.attributes) == {"pockets"}
    assert info_of(loaded, "second").attributes == ("pockets",)
    assert info_of(loaded, "first").attributes == ()


def test_27_a_name_that_is_another_s_former_one_is_given_to_neither_and_both_are_named(install: Install) -> None:
    renamed = """
        from attributree import Attribute, SingleLabel, hookimpl

        @hookimpl
        def attributree_attributes():
            return [Attribute("fastening", SingleLabel(("yes", "no")), formerly=("closure",))]
    """
    install("healthy", HEALTHY)
    install("first", declaring("Closure"))
    install("second", renamed)
    loaded = load_plugins()
    assert set(loaded.attributes) == {"lining"}
    assert "'Closure' is also declared by shop-second 1.2.3 (plugin 'second') as 'fastening' (formerly 'closure')" in (
        str(info_of(loaded, "first").error)
    )
    assert "'fastening' (formerly 'closure') is also declared by shop-first" in str(info_of(loaded, "second").error)


@pytest.mark.parametrize(
    ("supported", "upgrade"),
    [
        (">=2", "upgrade attributree"),
        (">=2,<3", "upgrade attributree"),
        ("<1", "upgrade the plugin"),
        ("==0.*", "the plugin"),
    ],
)
def test_28_a_plugin_for_another_hook_api_is_skipped_with_what_to_upgrade(
    install: Install, supported: str, upgrade: str
) -> None:
    install("healthy", HEALTHY)
    install(
        "culprit",
        f"""
            from attributree import hookimpl

            @hookimpl
            def attributree_api():
                return {supported!r}

            @hookimpl
            def attributree_hook_of_the_future(anything):
                raise AssertionError("never called")
        """,
    )
    loaded = load_plugins()
    assert_only_this_one_is_broken(loaded, "culprit", upgrade, status="skipped")
    assert f"this attributree has {API_VERSION}" in str(info_of(loaded, "culprit").error)


@pytest.mark.parametrize("answer", ["'one and a bit'", "1.0", "None"])
def test_28_a_range_that_is_none_is_reported(install: Install, answer: str) -> None:
    install("healthy", HEALTHY)
    install(
        "culprit",
        f"from attributree import hookimpl\n@hookimpl\ndef attributree_api(): return {answer}\n"
        + textwrap.dedent(HEALTHY),
    )
    assert_only_this_one_is_broken(load_plugins(), "culprit", "return a range such as '>=1,<2'")


HEAD = """
        @hookimpl
        def attributree_branch_head(attribute, in_features):
            import torch
            {body}
"""
LOSS = """
        @hookimpl
        def attributree_loss(attribute):
            {body}
"""
SLEEVES = 'SingleLabel(("bare", "covered")), applies_to=("top", "dress")'
TONE = 'SingleLabel(("dark", "bright"))'


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (HEAD.format(body="return torch.nn.Flatten()"), "the head of 'tone' returned (2, "),
        (HEAD.format(body="return torch.zeros"), "attributree_branch_head returned builtin_function_or_method, not a"),
        (LOSS.format(body="return lambda logits, target, weight, **how: logits"), "the loss of 'tone' returned (5, 2)"),
        (LOSS.format(body="return 'focal'"), "attributree_loss returned str, not a function"),
    ],
)
def test_29_a_head_or_loss_of_the_wrong_shape_or_type_is_caught_before_any_training(
    install: Install, grown: Project, source: str, reason: str
) -> None:
    install("culprit", declaring("tone", TONE).rstrip() + source)
    with grown.open() as workspace:
        (result,) = workspace.sync().results
        (run,) = workspace.registry.runs("tone")
    assert (result.attribute, result.status) == ("tone", "failed")
    assert "shop-culprit" in result.reason
    assert reason in result.reason
    assert run.status == "failed"
    assert not list((grown.folder / "cache").glob("runs/branch-tone*"))


def test_30_what_an_uninstalled_plugin_left_is_kept_said_and_revived(
    install: Install, site: Path, new_project: Callable[..., Project]
) -> None:
    project = new_project()
    install("culprit", declaring("tone", TONE))
    project.run("ingest", project.labels(), "--images", project.photos)
    assert [r["status"] for r in project.run("sync-catalog", "--json").json["results"]] == ["promoted"]
    photo = sorted(project.photos.iterdir())[0]
    before = project.run("predict", photo).lines
    project.run("predict", "--missing")

    info = site / "shop_culprit-1.2.3.dist-info"
    away = info.rename(info.with_suffix(".gone"))
    gone = project.run("sync-catalog", "--json").json
    assert [(a["action"], a["attribute"]) for a in gone["plan"]] == [("orphan", "tone")]
    assert "branch and predictions are kept" in gone["plan"][0]["reason"]
    assert project.run("status", "--json").json["attributes"]["tone"]["state"] == "orphaned"
    assert project.run("predict", photo).lines == before
    with project.open() as workspace:
        assert workspace.registry.predictions("tone")

    away.rename(info)
    back = project.run("sync-catalog", "--json").json
    assert [(a["action"], a["attribute"]) for a in back["plan"]] == [("register", "tone")]
    assert back["plan"][0]["reason"] == "shop-culprit is back; its branch answers again"
    assert back["results"] == []
    assert project.run("status", "--json").json["attributes"]["tone"]["state"] == "live"
    assert project.run("predict", photo).lines == before


def test_a_hostile_crowd_keeps_no_good_plugin_from_training_and_each_is_named(
    install: Install, new_project: Callable[..., Project]
) -> None:
    project = new_project()
    install("healthy", declaring("garment", 'SingleLabel(("top", "dress", "jeans"))'))
    install("slow", "import time\ntime.sleep(1)\n" + textwrap.dedent(HEALTHY))
    install("head", declaring("sleeves", SLEEVES).rstrip() + HEAD.format(body="return torch.nn.Identity()"))
    install("loss", declaring("tone", TONE).rstrip() + LOSS.format(body="return lambda *_, **how: 1.0"))
    ours = "from attributree import hookimpl\n@hookimpl\n"
    culprits = {
        "import": ("import a_library_that_is_not_there", "No module named 'a_library_that_is_not_there'"),
        "exit": ("import sys\nsys.exit(3)", "called sys.exit(3) on import"),
        "signature": (ours + "def attributree_loss(settings): return None", "settings"),
        "schema": (declaring("hem", "SingleLabel(())"), "values has 0 entries"),
        "first": (declaring("closure"), "shop-second 1.2.3"),
        "second": (declaring("Closure"), "shop-first 1.2.3"),
        "future": (ours + "def attributree_api(): return '>=9'", "upgrade attributree"),
        "claims": (ours + "def attributree_catalog_source(path): yield {}", "is a generator and cannot return None"),
    }
    for name, (source, _) in culprits.items():
        install(name, source)
    assert project.run("ingest", project.labels(), "--images", project.photos).code == 0

    outcome = project.run("sync-catalog", "--json")
    results = {result["attribute"]: result for result in outcome.json["results"]}
    assert outcome.code == 1
    assert {name: result["status"] for name, result in results.items()} == {
        "garment": "promoted",
        "lining": "blocked",
        "sleeves": "failed",
        "tone": "failed",
    }
    assert "shop-head" in results["sleeves"]["reason"]
    assert "shop-loss 1.2.3" in results["tone"]["reason"]
    for name, (_, reason) in culprits.items():
        (line,) = [line for line in outcome.err.splitlines() if line.startswith(f"warning: shop-{name} 1.2.3 ")]
        assert reason in line
    listed = {plugin["name"]: plugin for plugin in project.run("plugins", "list", "--json").json["plugins"]}
    assert {name for name, plugin in listed.items() if plugin["status"] == "ok"} == {"healthy", "slow", "head", "loss"}
    assert listed["future"]["status"] == "skipped"
    for command in ("status", "sync-catalog"):
        strict = project.run("--strict", command)
        assert strict.code == 1
        assert all(f"shop-{name} 1.2.3" in strict.err for name in culprits)
    assert project.run("sync-catalog", "--only", "garment").code == 0


def test_what_a_plugin_prints_never_lands_on_stdout(install: Install, site: Path) -> None:
    install("chatty", "print('welcome to my plugin')\n" + textwrap.dedent(HEALTHY))
    code = "from attributree.plugins import load_plugins; print(load_plugins().attributes['lining'].name)"
    run = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(site)}, capture_output=True, text=True, check=True
    )
    assert run.stdout == "lining\n"
    assert "welcome to my plugin" in run.stderr


def test_a_newer_distribution_earlier_on_the_path_hides_the_older(install: Install, site: Path, tmp_path: Path) -> None:
    install("healthy", HEALTHY, version="2.0")
    older = tmp_path / "older"
    info = older / "shop_healthy-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: Shop.Healthy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[attributree]\nhealthy = plug_healthy\n")
    sys.path.append(str(older))
    try:
        assert info_of(load_plugins(), "healthy").version == "2.0"
    finally:
        sys.path.remove(str(older))
