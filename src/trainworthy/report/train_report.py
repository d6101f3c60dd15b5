"""How a run of ``trainworthy train`` went: a line or two for the terminal, a page in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from trainworthy.report.curves_svg import curves_svg
from trainworthy.report.guard_text import finding_lines
from trainworthy.report.html import page_html
from trainworthy.report.tables import clean

__all__ = ["RunFacts", "read_metrics", "render_run_html", "render_run_json", "render_run_markdown", "render_run_text"]

_NOT_METRICS = {"kind", "step", "epoch"}
_NOT_DRAWN = {"step_s", "samples_per_s", "items_per_s", "mfu", "loss_scale"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What is known of a run at its end.

    Attributes:
        recipe: The word that names the recipe.
        folder: Where the run is stored; None: nowhere.
        step: Optimizer steps done.
        epoch: Epochs done.
        stopped_by: Why it stopped.
        seconds: How long this start took.
        metrics: The last evaluation.
        results: What the recipe worked out at the end.
        quality: Metric, lowest and highest value stated; None: none is stated.
        quality_met: Whether it is met; None: not judged.
        findings: What the guard found.
        settings: All settings, resolved.
    """

    recipe: str
    folder: Path | None
    step: int
    epoch: int
    stopped_by: str
    seconds: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    results: Mapping[str, float] = field(default_factory=dict)
    quality: tuple[str, float | None, float | None] | None = None
    quality_met: bool | None = None
    findings: Sequence[Any] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the rows of metrics.jsonl; a last line that was cut short is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def render_run_text(run: RunFacts) -> str:
    """Return a few lines: what came out, whether the stated quality is met, and where it is."""
    found = {**run.metrics, **run.results}
    values = "  ".join(f"{clean(name)} {value:.4g}" for name, value in found.items())
    lines = [f"{clean(run.recipe)}: step {run.step:,}, epoch {run.epoch}, {run.seconds:.1f} s; {_why(run)}"]
    lines += [f"  result   {values}"] if values else []
    lines += [f"  quality  {quality_words(run)}"] if run.quality else []
    lines += [f"  folder   {run.folder}"] if run.folder else []
    return "\n".join(lines)


def quality_words(run: RunFacts) -> str:
    """Say what was stated, what came out and whether that is enough.

    >>> quality_words(
    ...     RunFacts(
    ...         recipe="r",
    ...         folder=None,
    ...         step=1,
    ...         epoch=1,
    ...         stopped_by="end",
    ...         seconds=1,
    ...         metrics={"accuracy": 0.5},
    ...         quality=("accuracy", 0.9, None),
    ...         quality_met=False,
    ...     )
    ... )
    'accuracy 0.5, stated at least 0.9: NOT MET'
    """
    if run.quality is None:
        return "none is stated"
    metric, low, high = run.quality
    value = {**run.metrics, **run.results}.get(metric)
    bounds = [f"{word} {bound:g}" for word, bound in (("at least", low), ("at most", high)) if bound is not None]
    verdict = {True: "met", False: "NOT MET", None: "not judged"}[run.quality_met]
    return f"{metric} {'unknown' if value is None else f'{value:.4g}'}, stated {' and '.join(bounds)}: {verdict}"


def render_run_json(run: RunFacts) -> str:
    """Return the run as one JSON object."""
    quality = None
    if run.quality is not None:
        metric, low, high = run.quality
        quality = {"metric": metric, "at_least": low, "at_most": high, "met": run.quality_met}
    found = {
        "schema_version": 1, "recipe": run.recipe, "folder": str(run.folder) if run.folder else None,
        "step": run.step, "epoch": run.epoch, "stopped_by": run.stopped_by, "seconds": round(run.seconds, 3),
        "metrics": dict(run.metrics), "results": dict(run.results), "quality": quality,
        "findings": [line for each in run.findings for line in finding_lines(each)], "settings": dict(run.settings),
    }  # fmt: skip
    return json.dumps(found, indent=2, ensure_ascii=False, default=list)


def render_run_markdown(run: RunFacts, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the report as text: what came out, the evaluations, the settings."""
    lines = [f"# {run.recipe}", "", f"{run.step:,} steps, {run.epoch} epochs; {_why(run)}.", ""]
    lines += [f"Quality: {quality_words(run)}.", ""] if run.quality else []
    lines += [f"- {line}" for each in run.findings for line in finding_lines(each)[:1]]
    evaluations = _of_kind(rows, "evaluation")
    if evaluations:
        names = list(dict.fromkeys(name for row in evaluations for name in _metrics(row)))
        lines += [f"| step | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
        lines += [
            f"| {row.get('step')} | {' | '.join(_number(row.get(name)) for name in names)} |" for row in evaluations
        ]
        lines.append("")
    lines += [f"- {name}: {value:.6g}" for name, value in run.results.items()] + [""] * bool(run.results)
    lines += ["| setting | value |", "|---|---|"]
    lines += [f"| `{key}` | {_setting(value)} |" for key, value in run.settings.items()]
    return "\n".join(lines) + "\n"


def render_run_html(run: RunFacts, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the report as one page: verdict, curves, the same as tables."""
    kind = {True: "good", False: "bad", None: "unsure"}[run.quality_met]
    found = {**run.metrics, **run.results}
    numbers = "".join(f"<div><dt>{escape(name)}</dt><dd>{value:.4g}</dd></div>" for name, value in found.items())
    verdict = quality_words(run) if run.quality else _why(run)
    body = [
        f"<h1>{escape(clean(run.recipe))}</h1>",
        f'<p class="verdict {kind}"><strong>{escape(verdict)}</strong></p><dl class="numbers">{numbers}</dl>',
        *(f"<pre>{escape(line)}</pre>" for each in run.findings for line in finding_lines(each)[:1]),
        *(f"<figure>{svg}</figure>" for svg in run_curves(run, rows)),
        "<h2>Settings</h2>",
        _settings_table(run.settings),
        f"<footer><p>By trainworthy; {run.step:,} steps, {run.seconds:.1f} s, {escape(_why(run))}.</p></footer>",
    ]
    return page_html(run.recipe, body)


def run_curves(run: RunFacts, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Draw the losses of training and evaluation together, and each further metric on its own."""
    curves: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for kind, word in (("train", "training"), ("evaluation", "evaluation")):
        for row in _of_kind(rows, kind):
            for name, value in _metrics(row).items():
                if name.rpartition("/")[2] in _NOT_DRAWN:
                    continue
                phase, _, last = name.rpartition("/")
                label = f"{phase} ({word})" if phase else word
                curves.setdefault(last, {}).setdefault(label, []).append((row.get("step", 0), value))
    drawn = []
    for name, lines in curves.items():
        if all(len({y for _, y in points}) <= 1 for points in lines.values()) and name != "loss":
            continue
        drawn.append(curves_svg(name, lines, bounds=_bounds(run, name)))
    return [each for each in drawn if each]


def _bounds(run: RunFacts, name: str) -> dict[str, float]:
    if run.quality is None or run.quality[0] != name:
        return {}
    _, low, high = run.quality
    return {word: value for word, value in (("at least", low), ("at most", high)) if value is not None}


def _why(run: RunFacts) -> str:
    return "it ran to its end" if run.stopped_by == "end" else f"stopped by {run.stopped_by}"


def _of_kind(rows: Sequence[Mapping[str, Any]], kind: str) -> list[Mapping[str, Any]]:
    return [row for row in rows if row.get("kind") == kind]


def _metrics(row: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value) for name, value in row.items()
        if name not in _NOT_METRICS and isinstance(value, (int, float)) and not isinstance(value, bool)
    }  # fmt: skip


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (int, float)) else ""


def _setting(value: Any) -> str:
    return "" if value is None else str(list(value) if isinstance(value, tuple) else value)


def _settings_table(settings: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(key)}</td><td>{escape(_setting(value))}</td></tr>" for key, value in settings.items()
    )
    return f"<table><thead><tr><th>setting</th><th>value</th></tr></thead><tbody>{rows}</tbody></table>"
