"""Estimates as JSON, text, page and notebook."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import pytest

from report import estimates
from report.minischema import problems
from trainworthy.estimate.quantity import Quantity
from trainworthy.estimate.result import BOUNDS, Estimate
from trainworthy.report.estimate_html import render_estimate_html
from trainworthy.report.estimate_json import estimate_schema, render_estimate_json
from trainworthy.report.estimate_text import render_estimate_text
from trainworthy.report.roofline_svg import roofline_svg

STABLE = ("step_time_s", "peak_memory_bytes", "samples_per_s", "tokens_per_s_per_gpu", "model_tflops_per_gpu", "mfu",
          "hfu", "energy_kwh_per_step")  # fmt: skip


@pytest.fixture(scope="module")
def made() -> dict[str, Estimate]:
    return {name: make() for name, make in estimates.ALL.items()}


@pytest.mark.parametrize("case", estimates.ALL)
def test_json_follows_the_schema(case: str, made: dict[str, Estimate]) -> None:
    found = json.loads(render_estimate_json([made[case]]))
    assert list(problems(found, estimate_schema(), estimate_schema())) == []
    assert next(iter(found)) == "schema_version"


def test_several_machines_follow_the_schema(made: dict[str, Estimate]) -> None:
    found = json.loads(render_estimate_json([made["single"], made["on_cpu"]]))
    assert list(problems(found, estimate_schema(), estimate_schema())) == []
    assert [each["gpu"] for each in found["results"]] == ["h100-sxm-80gb", "xeon-8480plus"]


def test_the_schema_names_every_field_and_no_other(made: dict[str, Estimate]) -> None:
    described = estimate_schema()["$defs"]["estimate"]
    assert set(described["properties"]) == set(made["single"].to_dict())
    assert set(described["required"]) <= set(described["properties"])


def test_the_stable_interface(made: dict[str, Estimate]) -> None:
    found = made["single"].to_dict()
    for name in STABLE:
        assert set(found[name]) == {"low", "expected", "high"}, name
    assert found["fits"] in {"yes", "no", "unsure"}
    assert set(found["bound_by"]) == {"compute", "memory", "latency", "host", "network", "bubble"}
    assert isinstance(found["assumptions"], list)
    assert isinstance(found["unknown_ops"], dict)


@pytest.mark.parametrize("case", estimates.ALL)
def test_ranges_are_ordered_and_shares_add_up(case: str, made: dict[str, Estimate]) -> None:
    estimate = made[case]
    for name in estimate.__dataclass_fields__:
        value = getattr(estimate, name)
        if isinstance(value, Quantity):
            assert value.low <= value.expected <= value.high, name
    if estimate.bound_by is not None:
        assert sum(estimate.bound_by.share(name) for name in BOUNDS) == pytest.approx(1)
    if estimate.step_time_s is not None and estimate.phases:
        assert sum(row.seconds for row in estimate.classes) == pytest.approx(estimate.step_time_s.expected, rel=0.02)


@pytest.mark.parametrize("case", estimates.ALL)
@pytest.mark.parametrize("width", [60, 80, 140])
def test_text_keeps_to_the_width(case: str, width: int, made: dict[str, Estimate]) -> None:
    text = render_estimate_text([made[case]], width=width, color=False)
    assert text.startswith("VERDICT")
    assert max(map(len, text.splitlines())) <= width


def test_text_says_what_matters(made: dict[str, Estimate]) -> None:
    plain = render_estimate_text([made["single"]], width=0)
    for words in ("What bounds the step", "What would help", "MFU", "Assumed", "Definitions", "fused optimizer"):
        assert words in plain
    assert "Machines" in render_estimate_text([made["single"], made["on_cpu"]], width=100, color=False)
    assert str(made["single"]) == plain


def test_failures_say_where(made: dict[str, Estimate]) -> None:
    text = render_estimate_text([made["failed"]], width=100, color=False)
    assert "FAILED  at train.py:12" in text
    assert "shapes cannot be multiplied" in text


@pytest.mark.parametrize("case", estimates.ALL)
def test_pages_are_whole_and_load_nothing(case: str, made: dict[str, Estimate]) -> None:
    page = render_estimate_html([made[case]])
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert "onerror=alert" not in re.sub(r"&[a-z]+;[^<]*", "", page)
    assert page.count("<table") == page.count("</table>")
    assert made[case]._repr_html_().startswith("<div>")


def test_the_roofline_is_a_drawing(made: dict[str, Estimate]) -> None:
    chart = roofline_svg(made["single"])
    root = ElementTree.fromstring(chart.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))
    circles = [e for e in root.iter() if e.tag.endswith("circle")]
    assert len(circles) == len([p for p in made["single"].points if p.share > 2e-5])
    tips = ["".join(t.itertext()) for c in circles for t in c]
    assert any("train.py:1" in tip and "layers.*" in tip for tip in tips)
    assert roofline_svg(made["empty"]) == ""


def test_pipelines_show_their_bubble_and_every_rank(made: dict[str, Estimate]) -> None:
    staged = made["staged"]
    assert [rank.rank for rank in staged.ranks] == [0, 1, 2, 3]
    assert staged.bound_by is not None
    assert staged.bound_by.bubble > 0
    assert any(rank.bubble_s > 0 for rank in staged.ranks)
