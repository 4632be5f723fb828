"""Projects to test the whole on: a folder with plugins.toml, one-file plugins and a catalogue of drawn garments."""

import csv
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import metadata
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from attributree import Workspace
from attributree.settings.file import load_settings
from attributree_drawn_shop import GarmentOptions, write_catalogue

from .databases import NewDatabase
from .processes import Started

#: What the label file says of each garment; one plugin each. Easy to see at 32 pixels, so few epochs teach them.
VALUES: Mapping[str, tuple[str, ...]] = {
    "garment": ("top", "dress", "jeans"),
    "sleeves": ("bare", "covered"),
    "tone": ("dark", "bright"),
}
WORN_ABOVE = ("top", "dress")
PHOTOS = 200
BARE = ("sleeveless", "short")
DARK = ("black", "blue", "green", "brown", "red")


@dataclass(frozen=True)
class Outcome:
    """What a command did: exit code, and what it wrote where."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """The JSON lines on stdout."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True)
class Garments:
    """Photos on disk, and the rows of their label file: `rows` is what a shop knows, `truth` what is so."""

    photos: Path
    rows: tuple[dict[str, str], ...]
    truth: Mapping[str, Mapping[str, str]]


class Project:
    """A project as its user has it. Installed plugins are disabled; those of `folder/plugins` are used.

    `database` is a URL to be written into plugins.toml, or None for what is used where it names nothing: a file.
    """

    def __init__(self, folder: Path, garments: Garments, database: str | None = None) -> None:
        self.folder = folder
        self.garments = garments
        self.database = database
        self.photos = garments.photos
        self.config = folder / "plugins.toml"

    @property
    def url(self) -> str:
        """Where its catalogue is."""
        return load_settings(self.config, environ={}).catalog.database

    def settings(self, **sections: Mapping[str, Any]) -> None:
        """Write plugins.toml; `sections` change what stands in it by default, attributes by `attributes_NAME`."""
        installed = {point.dist.name for point in metadata.entry_points(group="attributree") if point.dist}
        tree: dict[str, dict[str, Any]] = {
            "catalog": {"database": self.database} if self.database else {},
            "trunk": {"backbone": "test_resnet", "weights": "random", "image_size": 32},
            "training": {
                "epochs": 8,
                "learning_rate": 0.01,
                "min_labels": 20,
                "max_loss": 100,
                "min_calibration_labels": 30,
                "target_precision": 0.6,
                "workers": 1,
                "device": "cpu",
            },
            "plugins": {"plugin_dirs": ["plugins"], "disabled": sorted(installed)},
            "article_types": {"jeans": []},  # which no attribute names; tops and dresses have sleeves
            **{f"attributes.{name}": {"depth": "head"} for name in VALUES},
        }
        for name, changes in sections.items():
            tree.setdefault(name.replace("attributes_", "attributes."), {}).update(changes)
        lines = []
        for name, section in tree.items():
            lines += [f"[{name}]", *(f"{toml_key(key)} = {toml(value)}" for key, value in section.items()), ""]
        self.config.write_text("\n".join(lines), encoding="utf-8")

    def plugin(self, name: str, source: str | None = None, **changes: Any) -> None:
        """Write the one-file plugin `name`: its usual declaration with `changes`, or `source`."""
        if source is None:
            source = declaration(name, **changes)
        (self.folder / "plugins" / f"{name}.py").write_text(source, encoding="utf-8")

    def remove_plugin(self, name: str) -> None:
        """Take a one-file plugin away."""
        (self.folder / "plugins" / f"{name}.py").unlink()

    def labels(self, rows: Any = None, name: str = "labels.csv") -> Path:
        """Write a label file of `rows`, by default of all garments, and return its path."""
        rows = list(self.garments.rows if rows is None else rows)
        path = self.folder / name
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)), restval="")
            writer.writeheader()
            writer.writerows(rows)
        return path

    def own_photos(self) -> None:
        """Copy the photos into the project, for tests that damage some."""
        self.photos = self.folder / "photos"
        shutil.copytree(self.garments.photos, self.photos)

    def open(self, **options: Any) -> Workspace:
        """Open the workspace; use it in a `with`."""
        return Workspace.open(self.config, **options)

    def run(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Outcome:
        """Run the command line in this process, with this project's configuration."""
        return self.command("--config", self.config, *arguments, env=env)

    @staticmethod
    def command(*arguments: str | Path, env: Mapping[str, str] | None = None) -> Outcome:
        """Run `attributree ARGUMENTS` in this process.

        What is no AttributreeError comes through, as its traceback would.
        """
        from attributree.cli import main

        out, err = StringIO(), StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for name in [name for name in os.environ if name.startswith("ATTRIBUTREE_")]:
                patch.delenv(name)
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["attributree", *map(str, arguments)])
            code: Any = 0
            try:
                main()
            except SystemExit as done:
                code = done.code or 0
        return Outcome(code, out.getvalue(), err.getvalue())

    def start(self, *arguments: str | Path) -> Started:
        """Start the command line in a process of its own."""
        code = "from attributree.cli import main; main()"
        options = ["--config", self.config, *arguments]
        return Started(code, options, folder=self.folder, environment=clean_environment())


def toml_key(key: str) -> str:
    """Return a key as TOML has it, in quotes only if it needs them."""
    return key if key.isidentifier() and key.isascii() else json.dumps(key)


def toml(value: Any) -> str:
    """Return a setting as TOML has it, whose texts, numbers and lists are those of JSON."""
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{toml_key(key)} = {toml(item)}' for key, item in value.items())} }}"
    return json.dumps(value)


def declaration(
    name: str, values: tuple[str, ...] | None = None, kind: str = "SingleLabel", more: str = "", applies_to: Any = None
) -> str:
    """Return the source of a plugin that declares one attribute; `more` is put behind it."""
    if applies_to is None:
        applies_to = WORN_ABOVE if name == "sleeves" else ()
    return f"""\
from attributree import Attribute, MultiLabel, Ordinal, SingleLabel, Value, hookimpl

@hookimpl
def attributree_attributes():
    return [Attribute({name!r}, {kind}({values or VALUES[name]!r}), applies_to={applies_to!r})]
{more}
"""


def clean_environment() -> dict[str, str]:
    """Return the environment without a user's own settings."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ATTRIBUTREE_")}
    return {**kept, "PYTHONWARNINGS": "error"}


@pytest.fixture(scope="session")
def garments(tmp_path_factory: pytest.TempPathFactory) -> Garments:
    """Photos and rows: a fifth of the tones and sleeves unknown, some ambiguous, splits fixed. Read only."""
    folder = tmp_path_factory.mktemp("garments")
    options = GarmentOptions(size=32, variation=0, hidden=0, second_photo=0)
    shop = write_catalogue(folder, PHOTOS, seed=1, options=options)
    truth, rows = {}, []
    with shop.products.open(newline="", encoding="utf-8") as file:
        products = list(csv.DictReader(file))
    for i, product in enumerate(products):
        labels = shop.truth[product["image"]]
        sleeves = {"n/a": "n/a"}.get(labels["sleeve_length"], "bare" if labels["sleeve_length"] in BARE else "covered")
        tone = "dark" if labels["colour"].split("|")[0] in DARK else "bright"
        truth[product["image"]] = {"garment": product["article_type"], "sleeves": sleeves, "tone": tone}
        row = {key: product[key] for key in ("image", "sku", "article_type", "title")}
        row |= {"split": ("train", "train", "train", "val", "test")[i % 5], **truth[product["image"]]}
        if i % 7 == 0:
            row |= {"tone": "", "sleeves": ""}
        elif i % 23 == 0:
            row["tone"] = "dark|bright"
        rows.append(row)
    return Garments(shop.photos, tuple(rows), truth)


@pytest.fixture(scope="session")
def new_project(
    garments: Garments,
    tmp_path_factory: pytest.TempPathFactory,
    own_database: NewDatabase | None,
    new_catalogue: Callable[[], str],
) -> Callable[..., Project]:
    """Makes projects: settings, the plugins that are named, and, unless `catalogue=False`, an empty catalogue."""

    def make(*plugins: str, catalogue: bool = True) -> Project:
        folder = tmp_path_factory.mktemp("project")
        (folder / "plugins").mkdir()
        database = None
        if own_database:
            database = new_catalogue() if catalogue else own_database()
        elif catalogue:
            Path(new_catalogue().removeprefix("sqlite:///")).rename(folder / "attributree.db")
        project = Project(folder, garments, database)
        project.settings()
        for name in plugins:
            project.plugin(name)
        return project

    return make


@pytest.fixture
def command() -> Callable[..., Outcome]:
    """Runs the command line in this process, for tests that need no project."""
    return Project.command


def ingest(project: Project) -> None:
    """Create the catalogue and ingest all garments."""
    with Workspace.create(project.folder) as workspace:
        workspace.ingest(project.labels(), images=project.photos)


@pytest.fixture(scope="session")
def ingested_once(new_project: Callable[..., Project]) -> Project:
    project = new_project("garment", "sleeves")
    ingest(project)
    return project


@pytest.fixture(scope="session")
def grown_once(new_project: Callable[..., Project]) -> Project:
    project = new_project("garment", "sleeves")
    ingest(project)
    with project.open() as workspace:
        statuses = {result.attribute: result.status for result in workspace.sync().results}
    assert statuses == {"garment": "promoted", "sleeves": "promoted"}
    return project


@pytest.fixture
def copy_project(
    tmp_path_factory: pytest.TempPathFactory, own_database: NewDatabase | None
) -> Callable[[Project], Project]:
    """Copies a closed project, with its catalogue, for one test."""

    def copy(project: Project) -> Project:
        folder = tmp_path_factory.mktemp("project")
        shutil.copytree(project.folder, folder, dirs_exist_ok=True)
        if own_database is None:
            return Project(folder, project.garments)
        copied = Project(folder, project.garments, own_database(project.database))
        settings = copied.config.read_text(encoding="utf-8")
        copied.config.write_text(settings.replace(str(project.database), str(copied.database)), encoding="utf-8")
        return copied

    return copy


@pytest.fixture
def project(ingested_once: Project, copy_project: Callable[[Project], Project]) -> Project:
    """A project with the plugins garment and sleeves, whose labels are ingested and nothing else."""
    return copy_project(ingested_once)


@pytest.fixture
def grown(grown_once: Project, copy_project: Callable[[Project], Project]) -> Project:
    """A copy of a project whose attributes garment and sleeves are live; tone has labels and no plugin."""
    return copy_project(grown_once)
