"""What a comparison says, as data and as pages."""

import json
from pathlib import Path
from typing import Any

import pytest

from attributree.comparison import ARMS, INDIVIDUAL, MULTILABEL
from attributree.comparison.report import Comparison, average, markdown, table, write
from attributree.errors import ConfigError


@pytest.mark.parametrize(
    ("values", "mean"),
    [
        ([1, 2], 2),  # whole numbers stay whole
        ([0.5, 0.25], 0.375),
        ([0.5, None], 0.5),
        ([None, None], None),
        (["head", "head"], "head"),
        (["head", "block"], None),
        ([True, False], None),
        ([{"a": 1.0, "b": 2}, {"a": 2.0}], {"a": 1.5, "b": 2}),
    ],
)
def test_seeds_are_averaged(values: list[Any], mean: object) -> None:
    assert average(values) == mean


def test_arms_are_means_and_each_seed_is_kept(comparison: Comparison) -> None:
    document = comparison.to_json()
    assert [seed["arms"][INDIVIDUAL]["mean_macro_f1"] for seed in document["seeds"]] == pytest.approx([0.7, 0.8])
    assert document["arms"][INDIVIDUAL]["mean_macro_f1"] == 0.75
    assert document["arms"][INDIVIDUAL]["attributes"]["tone"]["macro_f1"] is None
    assert document["left_out"] == {"fit": "3 of 50 labels"}


def test_a_difference_is_taken_resample_by_resample(comparison: Comparison) -> None:
    found = comparison.to_json()["differences"]
    assert len(found) == 6
    assert found["multilabel - individual"] == {"mean": 0.02, "low": -0.075, "high": 0.115}


def test_the_table_has_a_row_an_attribute_and_one_for_each_cost(comparison: Comparison) -> None:
    columns, rows = table(comparison.to_json())
    assert columns == ["macro-F1 on test", *ARMS]
    assert [row[:2] for row in rows] == [
        ["sleeve_length", "0.750"],
        ["tone", "-"],
        ["mean macro-F1", "0.750"],
        ["parameters", "1.00 M"],
        ["training", "75 s"],
        ["predicting an image", "0.50 ms"],
    ]


def test_the_page_tells_the_whole_story(comparison: Comparison) -> None:
    page = markdown(comparison.to_json())
    assert "| sleeve_length | 0.750 | 0.770 | 0.790 | 0.810 |" in page
    assert "- multilabel - individual: +2.00 (-7.50 to +11.50)" in page
    assert "- seconds are wall clock" in page
    assert "- fit is left out: 3 of 50 labels" in page
    assert page.endswith("seeds 0 1, backbone resnet18\n")
    assert f"- {MULTILABEL}: one network with a head for each attribute" in page


def test_files_hold_what_the_document_says(comparison: Comparison, tmp_path: Path) -> None:
    document = comparison.to_json()
    paths = write(document, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["compare.json", "compare.md"]
    assert json.loads(paths[0].read_text(encoding="utf-8")) == document


def test_a_folder_that_cannot_be_written_is_one_line(comparison: Comparison, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"--out: .*file cannot be written"):
        write(comparison.to_json(), tmp_path / "file")
