"""The summary of a table of models on one GPU: how many rows, why not the others, and the error by source."""

from __future__ import annotations

from trainworthy.estimate.single_gpu_runs import SingleGpuTable
from trainworthy.report.tables import clean

__all__ = ["render_single_gpu"]

_MOST_REASONS = 8


def render_single_gpu(table: SingleGpuTable, *, width: int = 100) -> str:
    """Return what ``trainworthy estimate --runs`` prints for such a table."""
    lines = [f"{table.rows:,} rows: {table.predicted:,} predicted. Measured columns are not read for it."]
    reasons = sorted(table.reasons.items(), key=lambda item: -item[1])
    for reason, count in reasons[:_MOST_REASONS]:
        lines.append(f"{count:>6}  {clean(reason)}"[:width])
    if len(reasons) > _MOST_REASONS:
        lines.append(
            f"        and {len(reasons) - _MOST_REASONS} more reasons; each row has its own in prediction_note"
        )
    shown = [*table.errors, *([table.memory] if table.memory is not None else [])]
    if shown:
        name_width = min(max(len(each.source) for each in shown), max(width - 42, 16))
        lines += ["", "Throughput, or step time where only that is stated", _head(name_width)]
        for each in shown:
            name = clean(each.source)[:name_width]
            figures = (_percent(each.median), _percent(each.p90), _percent(each.within_20), _percent(each.bias))
            lines.append(f"{name:{name_width}}  {each.rows:>5} " + " ".join(f"{figure:>8}" for figure in figures))
    return "\n".join(lines) + "\n"


def _head(name_width: int) -> str:
    return f"{'source':{name_width}}  {'rows':>5} {'median':>8} {'9 in 10':>8} {'in 20 %':>8} {'bias':>8}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
