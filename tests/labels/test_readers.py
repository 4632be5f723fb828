"""Label files are read as they stand or refused whole, naming file, row and column."""

import builtins
import codecs
import csv
import json
import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attributree.errors import IngestError
from attributree.labels import readers
from attributree.labels.readers import read_labels
from attributree.schema import RESERVED_COLUMNS

Write = Callable[..., Path]

#: Any text that a database stores: no NUL, no half surrogate pairs.
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=40)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: str | bytes, name: str = "labels.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


class Row(NamedTuple):
    line: int
    image: str
    sku: str
    article_type: str
    title: str
    description: str
    split: str
    labels: dict[str, str]
    source: str = ""
    annotator: str = ""


def rows(path: Path) -> list[Row]:
    """Return the rows of a label file one by one, with their labels."""
    found = []
    for part in read_labels(path):
        columns = part._asdict()
        columns["line"] = columns.pop("lines")
        each = [dict(zip(part.labels, texts, strict=True)) for texts in zip(*part.labels.values(), strict=True)]
        labels = [{column: text for column, text in texts.items() if text} for texts in each]
        columns["labels"] = labels or [{}] * len(part.lines)
        found += [Row(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
    return found


def test_reserved_columns_and_labels_are_told_apart(write: Write) -> None:
    path = write(
        "image,sku,article_type,title,description,split,neckline,colour\n"
        "a.jpg,S1,top,A top,Nice,VAL, v-neck ,\n"
        "\n"
        "b.jpg\n"
    )
    assert rows(path) == [
        Row(2, "a.jpg", "S1", "top", "A top", "Nice", "val", {"neckline": "v-neck"}),
        Row(4, "b.jpg", "", "", "", "", "", {}),
    ]


def test_no_reserved_column_is_ever_a_label(write: Write) -> None:
    reserved = dict.fromkeys(sorted(RESERVED_COLUMNS), "train")
    (row,) = rows(write(json.dumps(reserved | {"colour": "red"}) + "\n", "labels.jsonl"))
    assert row.labels == {"colour": "red"}


@pytest.mark.parametrize("name", ["labels.csv", "labels.jsonl", "labels.parquet"])
def test_a_heading_in_another_case_or_with_blanks_is_the_reserved_column(tmp_path: Path, name: str) -> None:
    table = {" Image": "a.jpg", "SKU": "S1", "Article Type": "top", "TITLE": "A top", "Split": "Test", "Size": "XL"}
    assert rows(written(tmp_path / name, table)) == [
        Row(1 + (name == "labels.csv"), "a.jpg", "S1", "top", "A top", "", "test", {"Size": "XL"})
    ]


@pytest.mark.parametrize("name", ["labels.csv", "labels.jsonl", "labels.parquet"])
def test_two_headings_of_one_reserved_column_are_refused_by_name(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, {"image": "a.jpg", "article_type": "top", "Article-Type": "dress"})
    with pytest.raises(
        IngestError, match="column 'article_type': 'article_type' and 'Article-Type' are both this column"
    ):
        rows(path)


def written(path: Path, *table: dict[str, Any]) -> Path:
    """Write rows in the format that the file's suffix names."""
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([[*table[0]], *([*row.values()] for row in table)])
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table))
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([*table]), path)
    return path


@pytest.mark.parametrize("name", ["labels.csv", "labels.jsonl", "labels.parquet"])
def test_one_product_has_one_sku_whatever_the_format(tmp_path: Path, name: str) -> None:
    numbers = written(tmp_path / name, {"image": "a.jpg", "sku": 1009.0}, {"image": "b.jpg", "sku": -7.0})
    assert [row.sku for row in rows(numbers)] == ["1009", "-7"]
    texts = ["cafe\u0301-1", "caf\u00e9-1", "007.0", "1009.00", "v1.0"]
    found = rows(written(tmp_path / name, *({"image": "a.jpg", "sku": text} for text in texts)))
    assert [row.sku for row in found] == ["caf\u00e9-1", "caf\u00e9-1", "007.0", "1009.00", "v1.0"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5.0, "5"), (2.5, "2.5"), (Decimal("5.00"), "5"), (Decimal("2.50"), "2.5"), (Decimal("1E+3"), "1000"),
        (10**20, str(10**20)), (float("nan"), ""), (True, "true"), ([5.0, 2], "5|2"),
    ],
)  # fmt: skip
def test_a_number_is_one_text_in_every_format(tmp_path: Path, value: Any, text: str) -> None:
    (path := tmp_path / "labels.any").write_text("")
    (part,) = read_labels(path, lambda _: [{"image": "a.jpg", "heel": value}])
    assert part.labels.get("heel", [""]) == [text]


@pytest.mark.parametrize("name", ["labels.jsonl", "labels.parquet"])
def test_an_empty_list_says_none_of_them_and_is_no_empty_cell(tmp_path: Path, name: str) -> None:
    table = [
        {"image": "a.jpg", "trim": [], "tags": ["x"]},
        {"image": "b.jpg", "trim": ["lace", "bow"], "tags": None},
        {"image": "c.jpg", "trim": None, "tags": None},
    ]
    assert [row.labels for row in rows(written(tmp_path / name, *table))] == [
        {"trim": "[]", "tags": "x"}, {"trim": "lace|bow"}, {},
    ]  # fmt: skip
    (row,) = rows(written(tmp_path / "more.jsonl", {"image": "a.jpg", "title": [], "trim": []}))
    assert (row.title, row.labels) == ("", {"trim": "[]"})


@pytest.mark.parametrize(
    "content",
    [
        "image,sku,,\na.jpg,1,,\n,,,\n , ,\nb.jpg,2\n",
        "sep=,\nimage,sku\na.jpg,1\nb.jpg,2,,\n",
        '\ufeff"sep=,"\n,,\nimage,sku\na.jpg,1\n""\nb.jpg,2\n',
    ],
)
def test_what_spreadsheets_leave_behind_is_no_row_and_no_column(write: Write, content: str) -> None:
    assert [(row.image, row.sku, row.labels) for row in rows(write(content))] == [
        ("a.jpg", "1", {}),
        ("b.jpg", "2", {}),
    ]


def test_wholly_empty_rows_of_other_formats_are_no_rows(tmp_path: Path, write: Write) -> None:
    lines = '{"image": "a.jpg"}\n{}\n{"image": null, "size": " "}\n{"image": "b.jpg"}\n'
    assert [row.line for row in rows(write(lines.replace(" ", ""), "labels.jsonl"))] == [1, 4]
    empty = {"image": None, "size": None}
    path = written(
        tmp_path / "labels.parquet", {"image": "a.jpg", "size": "L"}, empty, {"image": "b.jpg", "size": None}
    )
    assert [row.line for row in rows(path)] == [1, 3]


@pytest.mark.parametrize(("column", "limit"), [("image", 1024), ("sku", 1024), ("article_type", 255)])
@pytest.mark.parametrize("letter", ["x", "\U0001f457"])  # one byte, and four
def test_a_text_that_the_database_indexes_may_be_so_many_bytes(
    write: Write, column: str, limit: int, letter: str
) -> None:
    fits = letter * (limit // len(letter.encode()))
    cells = {"image": "a.png", column: fits}
    (row,) = rows(write(json.dumps(cells) + "\n", "labels.jsonl"))
    assert getattr(row, column) == fits
    with pytest.raises(IngestError, match=rf"row 1, column '{column}': the text is longer than {limit} bytes"):
        rows(write(json.dumps(cells | {column: fits + letter}) + "\n", "labels.jsonl"))


def test_an_export_is_told_by_its_source_column_and_read_without_its_marks(write: Write) -> None:
    path = write(
        "image,title,neckline,neckline::source,x::source::,'=note,::source,::annotator\n"
        "'-a.jpg,'=1,crew,import,1,''=2,supplier,anna\n"
        "b.jpg,'quoted'\n"
    )
    labels = {"neckline": "crew", "x::source": "1", "=note": "'=2"}
    assert rows(path) == [
        Row(2, "-a.jpg", "", "", "=1", "", "", labels, "supplier", "anna"),
        Row(3, "b.jpg", "", "", "'quoted'", "", "", {}),
    ]
    line = json.dumps({"image": "'-a.jpg", "neckline": "crew", "neckline::state": "labelled", "::source": None})
    assert rows(write(line, "labels.jsonl")) == [Row(1, "'-a.jpg", "", "", "", "", "", {"neckline": "crew"})]


def test_the_marks_of_an_export_do_not_count_as_length_of_a_name(write: Write) -> None:
    long = "é" * 120 + "::version"
    path = write(f"image,{long}::,{'é' * 124}::confidence,::source\na.jpg,1,0.5,\n")
    assert rows(path)[0].labels == {long: "1"}
    with pytest.raises(IngestError, match="the name of column 2 is longer than 255 bytes"):
        rows(write(f"image,{'é' * 128},::source\na.jpg,1,\n"))


def test_rows_are_numbered_by_the_line_where_they_begin(write: Write) -> None:
    path = write('image,title\r\na.jpg,"two\r\nlines"\r\nb.jpg,x\r\n')
    assert [(row.line, row.title) for row in rows(path)] == [(2, "two\r\nlines"), (4, "x")]


@pytest.mark.parametrize(
    "content",
    [
        "image,title\na.jpg,Größe\n".encode(),
        codecs.BOM_UTF8 + "image,title\na.jpg,Größe\n".encode(),
        "image,title\na.jpg,Größe\n".encode("utf-16"),
        codecs.BOM_UTF16_BE + "image,title\na.jpg,Größe\n".encode("utf-16-be"),
        "image,title\ra.jpg,Größe\r".encode(),
    ],
    ids=["utf-8", "utf-8 with BOM", "utf-16", "utf-16 big endian", "old Mac line ends"],
)
def test_stated_encodings_are_read(write: Write, content: bytes) -> None:
    assert [(row.image, row.title) for row in rows(write(content))] == [("a.jpg", "Größe")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,title\na.jpg,x\nb.jpg,Größe\n".encode("latin1"), r"row 3: character 9 is not UTF-8; .*iconv -f latin1"),
        ("image,title\na.jpg,x\n".encode("utf-16-le"), r"row 1: holds a NUL byte; .* byte order mark"),
        ("image,title\na.jpg,x\nb.jpg,\n".encode("utf-16") + b"\0\xd8x", r"row \d: character \d+ is not UTF-16"),
        ("image,title\na.jpg,a\0b\n", "row 2: holds a NUL byte"),
        ('image,title\na.jpg,x\nb.jpg,"never closed\nc.jpg,x\n', "row 3, column 'title': the quote is never closed"),
        ('image,title\na.jpg,"x"y\n', "row 2, column 'title': wrong quoting"),
        ("image,title\na.jpg,x,y\n", "row 2: 3 cells, but the header has 2"),
        ("image,title,title\na.jpg,x,y\n", "row 1, column 'title': the column is there twice"),
        ("image,,title\n", "row 1: column 2 has no name"),
        ("picture,title\n", r"row 1: there is no column 'image' \(found: picture, title\)"),
        ("image;title\n", "fields must be separated by commas"),
        ("sep=;\nimage;title\n", "row 1: fields are separated by ';'; save the file with commas between them"),
        ("image,title,,\na.jpg,x,,y\n", "row 2: 4 cells, but the header has 2"),
        ("image,Image\n", "row 1, column 'image': 'image' and 'Image' are both this column"),
        ("image,title\n ,x\n", "row 2, column 'image': the cell is empty"),
        ("image,split\na.jpg,dev\n", "row 2, column 'split': 'dev' is not a split; write train, val or test"),
        ("image,title\na.jpg," + "x" * 1_000_001, "row 2, column 'title': the field is longer than 1,000,000"),
        ('image,title,note\na.jpg,x,"' + "x\n" * 600_000, "row 2, column 'note': the quote is never closed, or"),
        ("image," + "c" * 256 + "\n", "row 1: the name of column 2 is longer than 255 bytes"),
        ("image\n" + "é" * 600 + "\n", "row 2, column 'image': the text is longer than 1024 bytes"),
        ("", "is empty"),
    ],
)
def test_a_csv_file_that_is_no_table_is_refused(write: Write, content: str | bytes, message: str) -> None:
    with pytest.raises(IngestError, match=r"^.*labels\.csv.*" + message) as caught:
        rows(write(content))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("start", ["x", '"'], ids=["long", "unclosed"])
def test_a_field_of_50_megabytes_is_refused_in_bounded_memory(write: Write, start: str) -> None:
    path = write(f"image,title\na.jpg,{start}" + "x" * 50_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(IngestError, match="row 2: the line is longer than 4,000,000 characters"):
            rows(path)
        assert tracemalloc.get_traced_memory()[1] < 40_000_000
    finally:
        tracemalloc.stop()


def test_the_field_limit_of_other_csv_readers_is_left_alone(write: Write) -> None:
    before = csv.field_size_limit()
    rows(write("image\na.jpg\n"))
    with pytest.raises(IngestError):
        rows(write('image\n"'))
    assert csv.field_size_limit() == before


@pytest.mark.parametrize("chunk", [1, 2, 3, 1000])
def test_chunks_make_no_difference(write: Write, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    path = write('image,title,neckline,colour\na.jpg,"two\nlines",crew\nb.jpg\n\nc.jpg,,,red\nd.jpg,x,,\n')
    whole = rows(path)
    assert [(row.line, row.labels) for row in whole] == [
        (2, {"neckline": "crew"}),
        (4, {}),
        (6, {"colour": "red"}),
        (7, {}),
    ]
    monkeypatch.setattr(readers, "CHUNK", chunk)
    assert rows(path) == whole


def test_json_lines_with_and_without_the_marks_of_an_export_are_each_read_as_what_they_are(write: Write) -> None:
    lines = [
        {"image": "a.jpg", "colour": "red", "colour::state": "labelled", "::source": "supplier"},
        {"image": "b.jpg", "colour::state": "labelled", "size": 3},
        {"image": "c.jpg", "colour": "blue", "::source": "anna"},
    ]
    found = rows(write("\n".join(map(json.dumps, lines)), "labels.jsonl"))
    assert [(row.line, row.source, row.labels) for row in found] == [
        (1, "supplier", {"colour": "red"}),
        (2, "", {"colour::state": "labelled", "size": "3"}),
        (3, "anna", {"colour": "blue"}),
    ]


def test_json_lines_of_many_sparse_columns_are_read_in_small_chunks(write: Write) -> None:
    lines = [{"image": f"{i}.jpg"} | {f"column {i * 7 + k}": "x" for k in range(10)} for i in range(1000)]
    path = write("\n".join(map(json.dumps, lines)), "labels.jsonl")
    assert max(len(part.labels) * len(part.lines) for part in read_labels(path)) <= 100_000
    read = rows(path)
    assert [{"image": row.image} | row.labels for row in read] == lines
    assert [row.line for row in read] == [*range(1, 1001)]


@pytest.mark.parametrize("chunk", [1, 2, 1000])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,split\na.jpg,dev\n,val\n", "row 2, column 'split': 'dev' is not a split"),
        ("image,split\na.jpg,\n,dev\n", "row 3, column 'image': the cell is empty"),
        ("image,article_type\na.jpg,\n,s\nc.jpg," + "x" * 1025 + "\n", "row 3, column 'image': the cell is empty"),
        ("image,sku\na.jpg," + "x" * 1025 + "\n,s\n", "row 2, column 'sku': the text is longer than 1024 bytes"),
        ("image,title\na.jpg,\n,s\nc.jpg,x,y\n", "row 3, column 'image': the cell is empty"),
        ('image,title\na.jpg,\n,s\nc.jpg,"x', "row 3, column 'image': the cell is empty"),
        ("image,title\na.jpg,\n,s\nc.jpg,a\0b\n", "row 3, column 'image': the cell is empty"),
    ],
)
def test_of_several_errors_the_first_row_is_told(
    write: Write, monkeypatch: pytest.MonkeyPatch, chunk: int, content: str, message: str
) -> None:
    monkeypatch.setattr(readers, "CHUNK", chunk)
    with pytest.raises(IngestError, match=message):
        rows(write(content))


@given(TEXTS, TEXTS)
def test_any_text_comes_out_of_csv_as_it_went_in(tmp_path_factory: Any, title: str, label: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["image", "title", "neckline"], ["a.jpg", title, label]])
    (row,) = rows(path)
    assert row.title == title.strip()
    assert row.labels == ({"neckline": label.strip()} if label.strip() else {})


def test_json_lines_hold_texts_numbers_truths_and_lists(write: Write) -> None:
    lines = [
        {"image": "a.jpg", "sku": 1163, "size": 1.5, "new": True, "colour": ["red", 2], "neckline": None},
        {"image": "b.jpg", "title": "x"},
    ]
    found = rows(write("\n".join(map(json.dumps, lines)), "labels.jsonl"))
    assert [row.line for row in found] == [1, 2]
    assert found[0].sku == "1163"
    assert found[0].labels == {"size": "1.5", "new": "true", "colour": "red|2"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"image": "a.jpg"}\n{"image": ', "row 2: not JSON"),
        ('["a.jpg"]', "row 1: not a JSON object"),
        ('{"image": "a.jpg", "neckline": {"value": "crew"}}', "row 1, column 'neckline': an object is not a cell"),
        ('{"image": "a.jpg", "neckline": [["crew"]]}', "row 1, column 'neckline': .* is not a cell"),
        ('{"image": "a.jpg", "size": NaN}', "row 1: not JSON .NaN is not a value"),
        ('{"image": "a.jpg", "x": 1, "x": 2}', "row 1, column 'x': the column is there twice"),
        ('{"image": "a.jpg", "x": "a\\u0000b"}', "row 1, column 'x': holds a NUL"),
        ('{"image": "a.jpg", "x": "\\ud800"}', "row 1, column 'x': .*half a surrogate pair"),
        ('{"image": "a.jpg"}\n{"picture": "b.jpg"}', r"row 2: there is no column 'image' \(found: picture\)"),
        ("[" * 100_000, "row 1: not JSON"),
        ("\n", "is empty"),
    ],
)
def test_a_json_lines_file_that_is_no_table_is_refused(write: Write, content: str, message: str) -> None:
    with pytest.raises(IngestError, match=r"labels\.jsonl.*" + message):
        rows(write(content, "labels.jsonl"))


def test_parquet_is_read_like_the_others(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    table = {"image": ["a.jpg", "b.jpg"], "sku": [1, 2], "colour": [["red", "blue"], None], "split": [None, "Test"]}
    pyarrow.parquet.write_table(pyarrow.table(table), path)
    assert rows(path) == [
        Row(1, "a.jpg", "1", "", "", "", "", {"colour": "red|blue"}),
        Row(2, "b.jpg", "2", "", "", "", "test", {}),
    ]


def test_numbers_with_gaps_in_parquet_are_whole_numbers_and_empty_cells(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    table = {"image": ["a.png", "b.png"], "sku": [1009.0, float("nan")], "size": [float("nan"), 2.5]}
    pyarrow.parquet.write_table(pyarrow.table(table), path)
    first, second = rows(path)
    assert (first.sku, first.labels) == ("1009", {})
    assert (second.sku, second.labels) == ("", {"size": "2.5"})


def test_a_damaged_parquet_file_is_refused(write: Write) -> None:
    with pytest.raises(IngestError, match=r"labels\.parquet: not a Parquet file"):
        rows(write("PAR1 and nothing else", "labels.parquet"))


def test_parquet_without_pyarrow_says_what_to_install(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(IngestError, match=r"pip install 'attributree\[parquet\]'"):
        rows(write("", "labels.parquet"))


def test_an_unknown_suffix_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match=r"\.xlsx is not known; label files are \.csv, \.jsonl or \.parquet"):
        rows(tmp_path / "labels.xlsx")
    with pytest.raises(IngestError, match="there is no such file"):
        rows(tmp_path / "labels.csv")
