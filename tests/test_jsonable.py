"""One way to JSON: what frozen values become."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import pytest

from attributree import Attribute, SingleLabel, Value
from attributree.jsonable import jsonable


@dataclass(frozen=True)
class Inner:
    keys: frozenset[str]
    at: datetime


@dataclass(frozen=True)
class Outer:
    file: Path
    inner: tuple[Inner, ...]
    counts: MappingProxyType[str, int]


def test_frozen_values_become_what_json_can_hold() -> None:
    value = Outer(Path("a/b"), (Inner(frozenset("ba"), datetime(2026, 1, 2, tzinfo=UTC)),), MappingProxyType({"n": 1}))
    found = jsonable(value)
    assert found == {
        "file": "a/b",
        "inner": [{"keys": ["a", "b"], "at": "2026-01-02T00:00:00+00:00"}],
        "counts": {"n": 1},
    }
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("text", "shown"),
    [("größe 👗", "größe 👗"), ("caf\udce9/é.png", "caf\\xe9/é.png"), ("\ud800\udce9", "\\ud800\\udce9")],
)
def test_texts_are_utf8_whatever_a_file_is_called(text: str, shown: str) -> None:
    assert jsonable([text, Path(text)]) == [shown, shown]
    assert json.dumps(jsonable(text), ensure_ascii=False).encode()


def test_what_has_a_form_of_its_own_is_asked_for_it() -> None:
    neckline = Attribute("neckline", SingleLabel(values=(Value("crew"), Value("v_neck"))))
    assert jsonable({"schema": neckline}) == {"schema": neckline.to_json()}


def test_what_has_no_form_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="object has no form in JSON"):
        jsonable([object()])
