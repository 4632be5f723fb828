"""The Fashion-MNIST benchmark: what its data say, and how its table is made."""

import csv
import gzip
import hashlib
import importlib
import io
import json
import struct
import sys
import tomllib
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from rich.console import Console

from attributree.schema import NOT_APPLICABLE, RESERVED_COLUMNS, SEPARATOR, Attribute

ROOT = Path(__file__).resolve().parents[2]
PER_CLASS = 30


def write_idx(path: Path, array: np.ndarray) -> None:
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(head + array.tobytes()))


@pytest.fixture
def fashion(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("fashion_mnist")


@pytest.fixture
def pixels(fashion: ModuleType) -> ModuleType:
    return importlib.import_module("fashion_mnist_pixels")


@pytest.fixture
def bench(fashion: ModuleType) -> ModuleType:
    return importlib.import_module("real_photographs")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder like the real one: 30 images a class and split; every third sneaker is a tall one."""
    folder = tmp_path / "source"
    folder.mkdir()
    rng = np.random.default_rng(7)
    for images_name, classes_name in (
        ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
        ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
    ):
        classes = (np.arange(10 * PER_CLASS) % 10).astype(np.uint8)
        images = np.zeros((len(classes), 28, 28), np.uint8)
        for i, ink in enumerate(rng.integers(20, 250, len(classes))):
            images[i, 2 : 22 if i % 3 == 0 else 16, 4:24] = ink
        write_idx(folder / images_name, images)
        write_idx(folder / classes_name, classes)
    return folder


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def rows(fashion: ModuleType, source: Path, tmp_path: Path) -> list[dict[str, str]]:
    return read_rows(fashion.make_dataset(tmp_path / "out", source=source).ingest_file)


def test_same_seed_same_bytes_and_another_seed_another_file(fashion: ModuleType, source: Path, tmp_path: Path) -> None:
    def written(name: str, seed: int) -> tuple[bytes, bytes]:
        made = fashion.make_dataset(tmp_path / name, source=source, train=100, test=50, seed=seed)
        return made.ingest_file.read_bytes(), (tmp_path / name / "visible.json").read_bytes()

    first = written("a", 3)
    assert written("b", 3) == first
    assert written("c", 4)[0] != first[0]


def test_the_seven_columns_are_written_as_ever(fashion: ModuleType, source: Path, tmp_path: Path) -> None:
    made = fashion.make_dataset(tmp_path / "out", source=source, train=100, test=50, seed=3)
    digest = hashlib.sha256(made.ingest_file.read_bytes()).hexdigest()
    assert digest == "3c9aac17f73c39e9205378ada7fdb52988f60357f328f3f9aecb557c41d61ff2"


def test_a_column_is_the_same_whatever_stands_beside_it(fashion: ModuleType, source: Path, tmp_path: Path) -> None:
    columns = {}
    for attributes in (fashion.ATTRIBUTES, fashion.ALL_ATTRIBUTES, ("hem", "tone")):
        made = fashion.make_dataset(tmp_path / str(len(attributes)), source=source, attributes=attributes)
        written = read_rows(made.ingest_file)
        assert list(written[0]) == ["image", "sku", "article_type", "split", *attributes]
        columns[len(attributes)] = {name: [row[name] for row in written] for name in written[0]}
        assert made.coverage.keys() == set(attributes)
    assert columns[7].items() <= columns[16].items()
    assert columns[2]["hem"] == columns[16]["hem"]
    assert columns[2]["tone"] == columns[7]["tone"]


def test_several_values_are_no_doubt_in_a_multi_label_column(fashion: ModuleType, source: Path, tmp_path: Path) -> None:
    attributes = ("front_opening", "shades")
    coverage = fashion.make_dataset(tmp_path / "out", source=source, hidden=0, attributes=attributes).coverage
    rows = [row for row in read_rows(tmp_path / "out/products.csv") if row["split"] != "test"]
    assert coverage["shades"].labelled == len(rows)
    assert coverage["shades"].ambiguous == 0
    assert coverage["front_opening"].ambiguous == sum("|" in row["front_opening"] for row in rows) == 60


def test_an_attribute_that_is_not_known_is_refused(fashion: ModuleType, source: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"heel_gap.*, not 'heal_gap'"):
        fashion.make_dataset(tmp_path / "out", source=source, attributes=("tone", "heal_gap"))


def test_subsets_are_balanced_and_the_seed_does_not_move_a_product_between_train_and_val(
    fashion: ModuleType, source: Path, tmp_path: Path
) -> None:
    splits: list[dict[str, str]] = []
    for seed in (0, 1):
        made = fashion.make_dataset(tmp_path / str(seed), source=source, train=205, test=40, seed=seed)
        rows = read_rows(made.ingest_file)
        training = Counter(row["article_type"] for row in rows if row["split"] != "test")
        assert sum(training.values()) == 205
        assert set(training.values()) == {20, 21}
        assert set(Counter(row["article_type"] for row in rows if row["split"] == "test").values()) == {4}
        splits.append({row["sku"]: row["split"] for row in rows})
    shared = splits[0].keys() & splits[1].keys()
    assert len(shared) > 100
    assert all(splits[0][sku] == splits[1][sku] for sku in shared)


def test_about_fifteen_percent_of_the_products_validate(fashion: ModuleType) -> None:
    share = np.mean([fashion.is_validation(f"FM-train-{i:05d}") for i in range(5000)])
    assert 0.13 < share < 0.17


def test_official_test_images_stay_test_and_keep_every_label(fashion: ModuleType, rows: list[dict[str, str]]) -> None:
    test = [row for row in rows if row["image"].startswith("test/")]
    assert len(test) == 10 * PER_CLASS
    assert {row["split"] for row in test} == {"test"}
    assert {row["split"] for row in rows if row["image"].startswith("train/")} == {"train", "val"}
    for row in test:
        empty = {name for name in fashion.ATTRIBUTES if not row[name]}
        assert empty == ({"sleeve_length"} if row["article_type"] == "dress" else set())


@pytest.mark.parametrize("hidden", [0.0, 0.6, 0.95])
def test_the_hidden_share_is_exact_for_every_attribute(
    fashion: ModuleType, source: Path, tmp_path: Path, hidden: float
) -> None:
    made = fashion.make_dataset(tmp_path / "out", source=source, hidden=hidden)
    training = [row for row in read_rows(made.ingest_file) if row["split"] != "test"]
    written = json.loads((tmp_path / "out/visible.json").read_text())["attributes"]
    for name, coverage in made.coverage.items():
        cells = [row[name] for row in training]
        assert coverage.told == (270 if name == "sleeve_length" else 300)  # nobody knows a dress's sleeves
        assert coverage.visible == sum(map(bool, cells)) == coverage.told - round(hidden * coverage.told)
        assert coverage.not_applicable == cells.count(NOT_APPLICABLE)
        assert coverage.ambiguous == sum(SEPARATOR in cell for cell in cells)
        assert coverage.share == pytest.approx(1 - hidden, abs=0.005)
        assert written[name]["visible"] == coverage.visible


def test_attributes_hide_different_rows(fashion: ModuleType, rows: list[dict[str, str]]) -> None:
    training = [row for row in rows if row["split"] != "test"]
    shown = Counter(sum(bool(row[name]) for name in ("article", "zone", "tone")) for row in training)
    assert set(shown) == {0, 1, 2, 3}


def test_what_the_class_leaves_open_is_ambiguous_or_unknown(rows: list[dict[str, str]]) -> None:
    test = [row for row in rows if row["split"] == "test"]
    told = {kind: {row["sleeve_length"] for row in test if row["article_type"] == kind} for kind in ("shirt", "dress")}
    assert told == {"shirt": {"short|long"}, "dress": {""}}
    assert {row["front_opening"] for row in test if row["article_type"] in ("shirt", "dress")} == {"closed|open"}


def test_tall_sneakers_may_reach_over_the_ankle(rows: list[dict[str, str]]) -> None:
    sneakers = [row for row in rows if row["split"] == "test" and row["article_type"] == "sneaker"]
    for row in sneakers:
        tall = int(row["sku"][-5:]) % 3 == 0
        assert row["shoe_height"] == ("low|high" if tall else "low")


def test_not_applicable_is_written_exactly_where_the_plugin_does_not_ask(
    rows: list[dict[str, str]], plugin_attributes: tuple[Attribute, ...]
) -> None:
    for row in rows:
        for attribute in plugin_attributes:
            if row["split"] == "test" or row[attribute.name]:
                asked = attribute.applies(row["article_type"])
                assert (row[attribute.name] == NOT_APPLICABLE) is not asked, (row, attribute.name)


@pytest.fixture
def plugin_attributes(monkeypatch: pytest.MonkeyPatch) -> tuple[Attribute, ...]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks/attributree-fashion-mnist/src"))
    return tuple(importlib.import_module("attributree_fashion_mnist").attributree_attributes())


def test_the_plugin_reads_every_value_that_the_generator_writes(
    fashion: ModuleType, rows: list[dict[str, str]], plugin_attributes: tuple[Attribute, ...]
) -> None:
    assert {attribute.name for attribute in plugin_attributes} == set(fashion.ATTRIBUTES)
    assert set(rows[0]) - RESERVED_COLUMNS == set(fashion.ATTRIBUTES)
    for attribute in plugin_attributes:
        written = {value for row in rows for value in row[attribute.name].split(SEPARATOR)} - {"", NOT_APPLICABLE}
        # Cells hold keys, not synonyms, and no declared value is without labels.
        assert written == set(attribute.labels.keys)


def test_the_plugin_asks_only_of_article_types_that_exist(
    fashion: ModuleType, plugin_attributes: tuple[Attribute, ...]
) -> None:
    for attribute in plugin_attributes:
        assert set(attribute.applies_to) <= set(fashion.ARTICLE_TYPES)


def test_photographs_are_dark_on_white_and_tone_follows_their_pixels(
    pixels: ModuleType, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    dark, light = pixels.TONE_CUTS
    for row in rows:
        with Image.open(tmp_path / "out/images" / row["image"]) as image:
            assert (image.mode, image.size) == ("L", (28, 28))
            photo = np.asarray(image)
        assert photo[0, 0] == 255
        if row["tone"]:
            mean = photo[photo < 255].mean()
            assert row["tone"] == ("dark" if mean < dark else "medium" if mean < light else "light")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"not gzip", "not a whole gzip file"),
        (gzip.compress(b"x" * 5000)[:20], "not a whole gzip file"),
        (gzip.compress(b"hello world"), "not an idx file"),
        (gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", 9, 28, 28) + b"short"), "announces"),
        (gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", 1, 2, 2) + b"four"), "not \\(N, 28, 28\\)"),
        (gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", 1, 28, 28) + bytes(784)), "300,\\) classes for 1 images"),
    ],
    ids=["missing", "no gzip", "cut short", "no idx", "too few", "other size", "other count"],  # gzip notes the time
)
def test_a_missing_or_damaged_source_names_its_file(
    fashion: ModuleType, source: Path, tmp_path: Path, content: bytes | None, message: str
) -> None:
    damaged = source / "train-images-idx3-ubyte.gz"
    if content is None:
        damaged.unlink()
    else:
        damaged.write_bytes(content)
    with pytest.raises(fashion.DatasetError, match=message) as caught:
        fashion.make_dataset(tmp_path / "out", source=source)
    assert "train-" in str(caught.value)


def test_without_any_source_the_error_says_the_ways_out(
    fashion: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fashion, "DEBIAN_FOLDER", tmp_path / "absent")
    datasets = ModuleType("torchvision.datasets")

    def unreachable(root: str, download: bool) -> None:
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    datasets.FashionMNIST = unreachable  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", datasets)
    result = CliRunner().invoke(fashion.main, ["--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "could not be downloaded" in result.output
    assert "dataset-fashion-mnist" in result.output
    assert "--source FOLDER" in result.output

    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(fashion.DatasetError, match="torchvision cannot be imported"):
        fashion.find_source(None, tmp_path)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [("--train", "5000", "the source has 30"), ("--hidden", "1.0", "share from 0"), ("--test", "-1", "negative")],
)
def test_sizes_and_shares_that_cannot_be_are_refused(
    fashion: ModuleType, source: Path, tmp_path: Path, option: str, value: str, message: str
) -> None:
    result = CliRunner().invoke(fashion.main, ["--source", str(source), "--out", str(tmp_path / "out"), option, value])
    assert result.exit_code == 1
    assert message in result.output


def recorded_sync(bench: ModuleType) -> dict[str, object]:
    """What sync-catalog --json prints: one plan entry and one result per attribute, and another plugin's."""
    names = [*bench.ATTRIBUTES, "neckline"]
    plan = [
        {"action": "grow", "attribute": n, "reason": "no branch yet", "labelled": 100 + i} for i, n in enumerate(names)
    ]
    results = [
        {
            "attribute": name,
            "action": "grow",
            "status": "rejected" if name == "tone" else "promoted",
            "branch": "b-1",
            "seconds": 12.5,
            "metrics": {"train_labels": 100 + i},
            "unchanged": {"attributes": [], "max_abs_diff": 0.0},
        }
        for i, name in enumerate(names)
    ]
    return {"plan": plan, "results": results}


def recorded_evaluation(bench: ModuleType) -> dict[str, object]:
    scores = {"n": 50, "accuracy": 0.8125, "macro_f1": 0.75, "ece": 0.0625, "coverage": 0.5, "per_value": {}}
    return {"version": "v7", "split": "test", "attributes": {n: scores for n in bench.ATTRIBUTES if n != "tone"}}


def test_the_table_holds_what_sync_and_evaluate_reported(bench: ModuleType) -> None:
    shares = dict.fromkeys(bench.ATTRIBUTES, 0.4)
    scores = bench.collect(recorded_sync(bench), recorded_evaluation(bench), shares, shares)
    assert [score.attribute for score in scores] == list(bench.ATTRIBUTES)
    article, tone = scores[0], scores[-1]
    assert (article.status, article.labels_used, article.n_test, article.accuracy) == ("promoted", 100, 50, 0.8125)
    assert (article.macro_f1, article.ece, article.train_seconds) == (0.75, 0.0625, 12.5)
    assert (tone.status, tone.n_test, tone.accuracy) == ("rejected", 0, None)

    output = io.StringIO()
    timings = [bench.Timing("attributree ingest data/products.csv --images data/images", 1.25)]
    bench.render(scores, timings, {"cores": 2, "weights": "random"}, Console(file=output, width=120))
    text = output.getvalue()
    lines = {line.split("│")[1].strip(): line for line in text.splitlines() if line.startswith("│")}
    assert lines.keys() == set(bench.ATTRIBUTES)
    cells = [cell.strip() for cell in lines["article"].split("│")[2:-1]]
    assert cells == ["40%", "100", "50", "0.400", "0.812", "0.750", "0.062", "12.5", "promoted"]
    assert lines["tone"].count(" - ") == 3
    assert "1.2 s  attributree ingest data/products.csv --images data/images" in text
    assert "cores 2, weights random" in text


def test_an_attribute_that_sync_did_not_train_is_an_error(bench: ModuleType) -> None:
    sync = recorded_sync(bench)
    sync["results"] = [entry for entry in sync["results"] if entry["attribute"] != "zone"]  # type: ignore[attr-defined]
    shares = dict.fromkeys(bench.ATTRIBUTES, 0.4)
    with pytest.raises(bench.BenchmarkError, match="'zone'"):
        bench.collect(sync, recorded_evaluation(bench), shares, shares)


@pytest.mark.parametrize("printed", ["", "Traceback", "[1, 2]"])
def test_output_that_is_no_json_object_names_the_command(bench: ModuleType, printed: str) -> None:
    with pytest.raises(bench.BenchmarkError, match="attributree evaluate --json printed"):
        bench.read_report(printed, "attributree evaluate --json")


def test_the_commonest_value_is_counted_among_scorable_test_cells(
    bench: ModuleType, fashion: ModuleType, source: Path, tmp_path: Path
) -> None:
    made = fashion.make_dataset(tmp_path / "out", source=source)
    majority = bench.majority_shares(made.ingest_file)
    assert majority["article"] == pytest.approx(0.1)
    assert majority["zone"] == pytest.approx(0.4)
    assert majority["sleeve_length"] == pytest.approx(2 / 3)
    assert majority["shoe_height"] == pytest.approx(50 / 80)  # 30 sandals and 20 low sneakers of 80, 10 in doubt


def test_commands_are_echoed_timed_and_failures_named(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ATTRIBUTREE_TRAINING__EPOCHS", "99")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    script = tmp_path / "attributree"
    script.write_text('#!/bin/sh\necho "epochs=$ATTRIBUTREE_TRAINING__EPOCHS"\nexit $2\n')
    script.chmod(0o755)
    runner = bench.Runner()
    assert runner.run("attributree", "evaluate", "0", cwd=tmp_path, capture=True) == "epochs=\n"
    assert capsys.readouterr().out == "$ attributree evaluate 0\n"
    assert [timing.command for timing in runner.timings] == ["attributree evaluate 0"]
    with pytest.raises(bench.BenchmarkError, match="exit code 3 from: attributree evaluate 3"):
        runner.run("attributree", "evaluate", "3", cwd=tmp_path, capture=True)
    with pytest.raises(bench.BenchmarkError, match="pip install -e"):
        runner.run("pip", "list", cwd=tmp_path)


def test_the_benchmark_types_the_users_commands_and_writes_what_it_prints(
    bench: ModuleType, source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out, typed = tmp_path / "bench", tmp_path / "typed"
    for name, document in (("sync-catalog", recorded_sync(bench)), ("evaluate", recorded_evaluation(bench))):
        (tmp_path / name).write_text(json.dumps(document))
    for program in ("pip", "attributree"):
        script = tmp_path / program
        script.write_text(
            f'#!/bin/sh\necho "{program} $*" >> {typed}\nif [ -f "{tmp_path}/$1" ]; then cat "{tmp_path}/$1"; fi\n'
        )
        script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(sys.modules["commands"], "installed", lambda distribution: True)
    options = ["--train", "200", "--test", "100", "--seed", "5", "--epochs", "2", "--out", str(out)]
    result = CliRunner().invoke(bench.main, [*options, "--source", str(source)])
    assert result.exit_code == 0, result.output

    assert typed.read_text().splitlines() == [
        "pip install --quiet --no-build-isolation --no-deps ./benchmarks/attributree-fashion-mnist",
        "attributree init",
        "attributree ingest data/products.csv --images data/images",
        "attributree sync-catalog --json",
        "attributree evaluate --json",
    ]
    settings = tomllib.loads((out / "real_photographs/plugins.toml").read_text())
    trunk = {"backbone": "resnet34", "weights": "random", "image_size": 32, "branch_at": "layer4"}
    assert settings["trunk"] == trunk
    assert settings["training"] == {"seed": 5, "epochs": 2}
    report = json.loads((out / "real_photographs.json").read_text())
    assert report["parameters"]["train"] + report["parameters"]["val"] == 200
    assert [score["attribute"] for score in report["attributes"]] == list(bench.ATTRIBUTES)
    assert [entry["command"] for entry in report["commands"]] == typed.read_text().splitlines()
    assert "footwear_openness" in result.output
