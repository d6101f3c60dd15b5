"""The machine interface as JSON follows its schema."""

from __future__ import annotations

import json
from typing import Any

import pytest

from report import cases
from report.minischema import problems
from trainworthy.report import render_json, schema


@pytest.mark.parametrize("case", cases.ALL)
def test_follows_the_schema(case: str) -> None:
    found = json.loads(render_json([cases.ALL[case]()]))
    assert list(problems(found, schema(), schema())) == []
    assert next(iter(found)) == "schema_version"


def test_several_gpus_follow_the_schema() -> None:
    found = json.loads(render_json([cases.fitting(), cases.too_large()]))
    assert list(problems(found, schema(), schema())) == []
    assert [result["verdict"] for result in found["results"]] == ["fits", "does-not-fit"]


def test_the_schema_names_every_field_and_no_other() -> None:
    described = schema()["$defs"]["result"]
    assert set(described["properties"]) == set(cases.full().to_dict())
    assert set(described["required"]) <= set(described["properties"])


@pytest.mark.parametrize(
    "change",
    [{"verdict": "maybe"}, {"steps": "2"}, {"peak_memory_bytes": -1}, {"error": {"kind": "x"}}, {"findings": [{}]},
     {"unknown_flop_ops": {"a": None}}, {"schema_version": 2}],
)  # fmt: skip
def test_the_schema_refuses_what_is_wrong(change: dict[str, Any]) -> None:
    found = {**json.loads(render_json([cases.fitting()])), **change}
    assert list(problems(found, schema(), schema()))


def test_notes_that_json_has_no_word_for_are_text() -> None:
    result = cases.fitting()
    result.assumptions.append(object())  # type: ignore[arg-type]
    assert "object object" in render_json([result])
