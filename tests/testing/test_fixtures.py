"""What pytest finds in every environment that attributree is installed in."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from attributree import Attribute, MultiLabel, Ordinal, SingleLabel, Workspace, hookimpl
from attributree.schema import SPLITS
from attributree.testing import write_cards


def plugin_of(attribute: Attribute) -> SimpleNamespace:
    """Return a plugin that declares one attribute."""

    @hookimpl
    def attributree_attributes() -> list[Attribute]:
        return [attribute]

    return SimpleNamespace(attributree_attributes=attributree_attributes)


TONE = plugin_of(Attribute("tone", SingleLabel(("dark", "bright"))))
CARDED = (
    Attribute("tone", SingleLabel(("dark", "bright"))),
    Attribute("hue", MultiLabel(("red", "green", "blue")), applies_to=("poster", "flag")),
    Attribute("weight", Ordinal(("light", "medium", "heavy", "massive"))),
)


def test_a_run_of_pytest_that_uses_none_of_it_imports_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text(
        "import sys\n\ndef test_nothing():\n"
        "    assert {'attributree.testing.fixtures', 'attributree_drawn_shop.fixtures'} <= set(sys.modules)\n"
        "    assert not {'torch', 'sqlalchemy', 'numpy', 'PIL'} & set(sys.modules)\n"
    )
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_workspaces_share_nothing_and_know_only_the_given_plugins(
    attributree_workspace: Callable[..., Workspace],
) -> None:
    first, second = attributree_workspace({"tone": TONE}), attributree_workspace()
    assert first.plugins.attributes.keys() == {"tone"}
    assert second.plugins.attributes.keys() == set()
    assert first.catalog.url != second.catalog.url


def test_a_section_changes_what_it_names_and_nothing_else(
    attributree_workspace: Callable[..., Workspace], attributree_trunk: Path
) -> None:
    settings = attributree_workspace(training={"epochs": 3}, attributes={"tone": {"depth": "head"}}).settings
    assert (settings.training.epochs, settings.training.device) == (3, "cpu")
    assert settings.attributes["tone"].depth == "head"
    assert settings.trunk.weights == str(attributree_trunk)


def test_cards_of_every_value_lie_in_every_split(
    attributree_workspace: Callable[..., Workspace], tmp_path: Path
) -> None:
    for attribute in CARDED:
        folder = tmp_path / attribute.name
        workspace = attributree_workspace()
        workspace.ingest(write_cards(attribute, folder), images=folder / "photos")
        workspace.labels.declare(attribute, "test")
        labels = workspace.labels.label_set(attribute.name)
        for split in SPLITS:
            assert min(labels.part(split).counts().values()) > 0, (attribute.name, split)
