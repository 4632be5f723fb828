"""From a wheel, in an environment of its own and far from the checkout: what a user does on the first day."""

import csv
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
from importlib import metadata
from pathlib import Path

import pytest

from attributree.testing import GarmentCatalogue, GarmentOptions, write_catalogue

ROOT = Path(__file__).parents[2]
CONFIG = """
[trunk]
backbone = "test_resnet"
weights = "random"
image_size = 32

[training]
epochs = 20
learning_rate = 0.01
min_labels = 20
workers = 1
device = "cpu"

[plugins]
plugin_dirs = ["plugins"]
disabled = {disabled}

[attributes.sleeves]
depth = "head"

[attributes.hem]
depth = "head"
"""
SLEEVES = """
from attributree import Attribute, SingleLabel, hookimpl

@hookimpl
def attributree_attributes():
    return [Attribute("sleeves", SingleLabel(("bare", "covered")))]
"""


class Environment:
    """A virtual environment that has the heavy dependencies of this one and nothing else of it."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.folder = folder
        self.bin = folder / ("Scripts" if sys.platform == "win32" else "bin")
        self.variables = variables
        venv.create(folder, with_pip=False)
        # A path in a .pth file is added as it stands: the .pth files in there, such as that of an editable
        # installation of this checkout, are not followed.
        site = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
        Path(site, "shared.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")

    def pip_install(self, what: Path) -> None:
        """Install from disk alone, with the pip of this environment."""
        options = ["--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed", "--quiet"]
        command = [sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "install", *options, str(what)]
        subprocess.run(command, env=self.variables, check=True, timeout=120)

    def run(self, *command: str, cwd: Path) -> str:
        """Run a program of the environment and return what it prints."""
        program, *arguments = command
        done = subprocess.run(
            [str(self.bin / program), *arguments],
            cwd=cwd,
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def variables() -> dict[str, str]:
    """The environment variables without anything that leads back into this checkout or to an index."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ATTRIBUTREE_", "PYTHON", "PIP_", "VIRTUAL_ENV"))}
    return {**kept, "OMP_NUM_THREADS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_CACHE_DIR": "1"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, variables: dict[str, str]) -> Path:
    """A folder with the wheel and the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--sdist",
        "--no-isolation",
        "--outdir",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(command, env=variables, check=True, timeout=180, stdout=subprocess.DEVNULL)
    return folder


@pytest.fixture(scope="module")
def environment(built: Path, tmp_path_factory: pytest.TempPathFactory, variables: dict[str, str]) -> Environment:
    """An environment into which the wheel is installed."""
    made = Environment(tmp_path_factory.mktemp("environment") / "venv", variables)
    made.pip_install(next(built.glob("*.whl")))
    return made


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> GarmentCatalogue:
    """Photos of dresses, and a label file with the columns sleeves and hem."""
    options = GarmentOptions(size=32, variation=0, hidden=0.1, second_photo=0, article_types={"dress": 1.0})
    made = write_catalogue(tmp_path_factory.mktemp("shop"), 200, seed=2, options=options)
    with made.products.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with (made.folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ("image", "sku", "article_type", "split", "sleeves", "hem"))
        writer.writeheader()
        for i, row in enumerate(rows):
            bare = made.truth[row["image"]]["sleeve_length"] in ("sleeveless", "short")
            writer.writerow(
                {key: row[key] for key in ("image", "sku", "article_type", "hem")}
                | {"split": ("train", "train", "train", "val", "test")[i % 5], "sleeves": "bare" if bare else "covered"}
            )
    return made


def written_from_the_readme(folder: Path) -> Path:
    """Write the distribution that README.md's section "Write a plugin" shows, word for word."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("\n## Write a plugin\n")[2].partition("\n## ")[0]
    (toml,) = re.findall(r"```toml[^\n]*\n(.*?)```", section, re.DOTALL)
    (module,) = re.findall(r"```python[^\n]*\n(.*?)```", section, re.DOTALL)
    project = tomllib.loads(toml)["project"]
    (imported,) = project["entry-points"]["attributree"].values()
    root = folder / str(project["name"])
    package = root / "src" / str(imported)
    package.mkdir(parents=True)
    (root / "pyproject.toml").write_text(toml, encoding="utf-8")
    (package / "__init__.py").write_text(module, encoding="utf-8")
    return root


def test_the_source_distribution_holds_what_a_build_and_the_tests_need(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    migrations = {path.relative_to(ROOT).as_posix() for path in (ROOT / "migrations").rglob("*.py")}
    assert {"pyproject.toml", "README.md", "LICENSE", "core/attributree/__init__.py", "tests/conftest.py"} <= names
    assert len(migrations) >= 2
    assert migrations | {"migrations/script.py.mako"} <= names


def test_what_is_installed_is_the_wheel_with_its_migrations(environment: Environment, tmp_path: Path) -> None:
    code = "import attributree, attributree.catalog.migrate as m; print(attributree.__file__); print(m.migrations())"
    package, migrations = map(Path, environment.run("python", "-c", code, cwd=tmp_path).splitlines())
    assert package.is_relative_to(environment.folder)
    assert migrations == package.parent / "migrations"
    assert (migrations / "env.py").is_file()
    assert (package.parent / "py.typed").is_file()


def test_a_first_day(environment: Environment, shop: GarmentCatalogue, tmp_path: Path) -> None:
    def attributree(*arguments: str) -> str:
        return environment.run("attributree", *arguments, cwd=folder)

    folder = tmp_path / "work"
    environment.run("attributree", "init", "work", cwd=tmp_path)
    assert attributree("db", "current").strip() != "none"
    others = {point.dist.name for point in metadata.entry_points(group="attributree") if point.dist}
    (folder / "plugins.toml").write_text(CONFIG.format(disabled=json.dumps(sorted(others - {"attributree-hem"}))))
    (folder / "plugins").mkdir()
    (folder / "plugins" / "sleeves.py").write_text(SLEEVES)
    attributree("ingest", str(shop.folder / "labels.csv"), "--images", str(shop.photos))
    first = json.loads(attributree("sync-catalog", "--json"))
    assert [(result["attribute"], result["status"]) for result in first["results"]] == [("sleeves", "promoted")]
    photo = str(shop.photos / next(iter(shop.truth)))
    before = json.loads(attributree("predict", photo))
    assert before["attribute"] == "sleeves"

    # The plugin of the README arrives after the labels did.
    environment.pip_install(written_from_the_readme(tmp_path))
    listed = {p["name"]: p for p in json.loads(attributree("plugins", "list", "--json"))["plugins"]}
    assert (listed["hem"]["distribution"], listed["hem"]["status"]) == ("attributree-hem", "ok")
    second = json.loads(attributree("sync-catalog", "--json"))
    assert [(action["action"], action["attribute"]) for action in second["plan"]] == [
        ("register", "hem"),
        ("grow", "hem"),
    ]
    (result,) = second["results"]
    assert (result["attribute"], result["status"]) == ("hem", "promoted")
    assert (result["unchanged"]["attributes"], result["unchanged"]["max_abs_diff"]) == (["sleeves"], 0.0)
    after = [json.loads(line) for line in attributree("predict", photo).splitlines()]
    assert [line["attribute"] for line in after] == ["hem", "sleeves"]
    assert after[0]["value"] in ("mini", "knee", "midi", "maxi")
    assert after[1] == before | {"version": second["version"]}
