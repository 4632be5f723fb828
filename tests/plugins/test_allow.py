"""Which plugins are imported if `allow` names some. Distributions here are as an installer leaves them."""

import base64
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest
from pydantic import ValidationError

from attributree.plugins import LoadedPlugins, PluginInfo, load_plugins
from attributree.settings.models import PluginSettings

SOURCE = """
from attributree import Attribute, SingleLabel, hookimpl

@hookimpl
def attributree_attributes():
    return [Attribute({name!r}, SingleLabel(("yes", "no")))]
"""
NEVER = "raise AssertionError('was imported')"
Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs distributions named shop-NAME and returns their RECORD; those of the environment are out of sight."""
    site = tmp_path / "site-packages"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    found = metadata.distributions
    monkeypatch.setattr(metadata, "distributions", lambda: [d for d in found() if d.metadata["Name"][:5] == "shop-"])

    def install(name: str, source: str | None = None, *, editable: bool = False) -> Path:
        module = site / f"allowed_{name}.py"
        module.write_text(SOURCE.format(name=name) if source is None else source)
        info = site / f"shop_{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: shop-{name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[attributree]\n{name} = {module.stem}\n")
        if editable:
            (info / "direct_url.json").write_text(json.dumps({"url": "file:///x", "dir_info": {"editable": True}}))
        digest = base64.urlsafe_b64encode(hashlib.sha256(module.read_bytes()).digest()).decode().rstrip("=")
        record = info / "RECORD"
        record.write_text(f"{module.name},sha256={digest},{module.stat().st_size}\n{info.name}/RECORD,,\n")
        return record

    before = set(sys.modules)
    yield install
    for name in [name for name in set(sys.modules) - before if name.startswith("allowed_")]:
        del sys.modules[name]


def load(*allow: str, plugin_dirs: tuple[Path, ...] = ()) -> LoadedPlugins:
    return load_plugins(PluginSettings(allow=allow, plugin_dirs=plugin_dirs))


def info_of(loaded: LoadedPlugins, name: str) -> PluginInfo:
    (info,) = [info for info in loaded.plugins if info.name == name]
    return info


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_without_an_allowlist_everything_is_imported(install: Install) -> None:
    install("lining")
    assert set(load().attributes) == {"lining"}


def test_what_is_not_in_it_is_skipped_before_its_import_with_what_to_type(install: Install) -> None:
    install("lining")
    record = install("closure", NEVER)
    loaded = load("shop-lining==1.2")
    assert set(loaded.attributes) == {"lining"}
    skipped = info_of(loaded, "closure")
    assert skipped.status == "skipped"
    assert skipped.error == (
        "is not in allow in the [plugins] section and was not imported; if you trust it, write there: "
        f'"shop-closure==1.2 sha256:{sha256(record)}"'
    )
    assert loaded.problems == (skipped,)
    assert "allowed_closure" not in sys.modules


def test_what_is_to_be_typed_allows_it(install: Install) -> None:
    install("lining")
    entry = str(info_of(load("other==1"), "lining").error).split('"')[1]
    load(entry).require_healthy()
    load(entry.replace("shop-lining", "Shop_Lining")).require_healthy()


@pytest.mark.parametrize("entry", ["shop-lining==1.3", f"shop-lining==1.2 sha256:{'0' * 64}"])
def test_another_version_or_another_record_is_not_what_was_allowed(install: Install, entry: str) -> None:
    install("lining", NEVER)
    info = info_of(load(entry), "lining")
    assert info.status == "skipped"
    assert str(info.error).startswith("is another than allow in the [plugins] section says and was not imported")


def test_a_file_that_is_not_what_record_says_is_refused(install: Install) -> None:
    record = install("lining")
    module = record.parent.parent / "allowed_lining.py"
    module.write_text(NEVER)
    info = info_of(load(f"shop-lining==1.2 sha256:{sha256(record)}"), "lining")
    assert info.status == "skipped"
    assert f"has a file that is not what its RECORD says, {module}, and was not imported" in str(info.error)
    module.unlink()
    assert "is not what its RECORD says" in str(
        info_of(load(f"shop-lining==1.2 sha256:{sha256(record)}"), "lining").error
    )


def test_an_editable_installation_is_allowed_by_version_and_never_by_a_record_that_does_not_cover_it(
    install: Install,
) -> None:
    record = install("lining", editable=True)
    info = info_of(load(f"shop-lining==1.2 sha256:{sha256(record)}"), "lining")
    assert info.status == "skipped"
    assert 'editable mode, or not from a wheel); install it from a wheel, or write "shop-lining==1.2"' in str(
        info.error
    )
    assert str(info_of(load("other==1"), "lining").error).endswith('write there: "shop-lining==1.2"')
    load("shop-lining==1.2").require_healthy()


def test_a_one_file_plugin_is_allowed_by_its_content(install: Install, tmp_path: Path) -> None:
    folder = tmp_path / "plugins"
    folder.mkdir()
    file = folder / "hem.py"
    file.write_text(NEVER)
    entry = f"hem.py sha256:{sha256(file)}"
    assert str(info_of(load("other==1", plugin_dirs=(folder,)), "hem").error).endswith(f'write there: "{entry}"')
    file.write_text(SOURCE.format(name="hem"))
    changed = info_of(load(entry, plugin_dirs=(folder,)), "hem")
    assert changed.status == "skipped"
    assert "is another than allow" in str(changed.error)
    load(f"hem.py sha256:{sha256(file)}", plugin_dirs=(folder,)).require_healthy()


@pytest.mark.parametrize("allow", [(), ("shop-lining==1.2",)])
def test_a_plugin_whose_files_cannot_be_read_is_reported_and_the_others_work(
    install: Install, tmp_path: Path, allow: tuple[str, ...]
) -> None:
    install("lining")
    folder = tmp_path / "plugins"
    (folder / "hem.py").mkdir(parents=True)
    loaded = load(*allow, plugin_dirs=(folder,))
    assert set(loaded.attributes) == {"lining"}
    assert info_of(loaded, "hem").status == "failed"
    assert "raised IsADirectoryError" in str(info_of(loaded, "hem").error)


@pytest.mark.parametrize("entry", ["shop-lining", "shop-lining>=1", "hem.py", "shop-lining==1 sha256:12", "a==1==2"])
def test_an_entry_that_pins_nothing_is_a_configuration_error(entry: str) -> None:
    with pytest.raises(ValidationError, match='must be "NAME==VERSION"'):
        PluginSettings(allow=(entry,))
