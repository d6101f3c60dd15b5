"""The report of a run, from rows made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from trainworthy.report.curves_svg import curves_svg
from trainworthy.report.train_report import (
    RunFacts,
    read_metrics,
    render_run_html,
    render_run_json,
    render_run_markdown,
    render_run_text,
    run_curves,
)

RUN = RunFacts(
    recipe="digits", folder=Path("runs/x"), step=20, epoch=2, stopped_by="end", seconds=3.21,
    metrics={"loss": 0.25, "accuracy": 0.96}, results={"perplexity": 4.0}, quality=("accuracy", 0.97, None),
    quality_met=False, settings={"lr": 0.1, "train.seed": 0, "note": "<b>"},
)  # fmt: skip
ROWS = [
    {"kind": "train", "step": 10, "epoch": 0, "loss": 1.5, "step_s": 0.1},
    {"kind": "evaluation", "step": 10, "epoch": 0, "loss": 1.2, "accuracy": 0.5},
    {"kind": "train", "step": 20, "epoch": 1, "loss": 0.5, "step_s": 0.1},
    {"kind": "evaluation", "step": 20, "epoch": 1, "loss": 0.25, "accuracy": 0.96},
]


def test_text() -> None:
    assert render_run_text(RUN).splitlines() == [
        "digits: step 20, epoch 2, 3.2 s; it ran to its end",
        "  result   loss 0.25  accuracy 0.96  perplexity 4",
        "  quality  accuracy 0.96, stated at least 0.97: NOT MET",
        "  folder   runs/x",
    ]


def test_markdown() -> None:
    text = render_run_markdown(RUN, ROWS)
    assert "| step | loss | accuracy |\n|---|---|---|\n| 10 | 1.2 | 0.5 |\n| 20 | 0.25 | 0.96 |\n" in text
    assert "Quality: accuracy 0.96, stated at least 0.97: NOT MET." in text


def test_json() -> None:
    found = json.loads(render_run_json(RUN))
    assert found["quality"] == {"metric": "accuracy", "at_least": 0.97, "at_most": None, "met": False}
    assert found["results"] == {"perplexity": 4.0}


def test_page_escapes_and_stands_alone() -> None:
    page = render_run_html(RUN, ROWS)
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert page.count("<svg") == 2  # loss and accuracy; seconds are no curve
    assert "<script" not in page


def test_curves() -> None:
    loss, accuracy = run_curves(RUN, ROWS)
    for text in (loss, accuracy):
        ElementTree.fromstring(text)
    assert "training 0.5" in loss
    assert "evaluation 0.25" in loss
    assert "at least 0.97" in accuracy


def test_what_cannot_be_drawn_is_left_out() -> None:
    nan = float("nan")
    assert curves_svg("x", {"a": [(1, nan)]}) == ""
    assert curves_svg("x", {}) == ""
    many = curves_svg("<x>", {"a": [(step, 1 / (step + 1)) for step in range(5000)]})
    assert many.count(",") < 1000
    assert "&lt;x&gt;" in many
    for points in ([(0.0, 1.0)], [(0.0, 0.0), (1.0, 0.0)], [(3.0, -2.0), (4.0, -2.0)]):
        ElementTree.fromstring(curves_svg("x", {"a": points}))


def test_a_last_line_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_metrics(path) == []
    path.write_text('{"kind": "train", "step": 1}\n[1]\n{"kind": "tra')
    assert read_metrics(path) == [{"kind": "train", "step": 1}]


@pytest.mark.parametrize(("met", "kind"), [(True, "good"), (False, "bad"), (None, "unsure")])
def test_the_verdict_has_its_colour(met: bool | None, kind: str) -> None:
    import dataclasses

    assert f'class="verdict {kind}"' in render_run_html(dataclasses.replace(RUN, quality_met=met), ROWS)
