"""``check --rehearse SCRIPT`` and ``check --live N SCRIPT``: the deeper rules, of one script that is run.

What the static rules find in the script itself is shown too. Options of ours stand before the script; everything after
it is the script's own.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainworthy.cli.options import size
from trainworthy.cli.progress import ProgressLine
from trainworthy.cli.rehearse import split_words
from trainworthy.errors import UsageError

if TYPE_CHECKING:
    from trainworthy.check.config import Config
    from trainworthy.check.finding import Finding
    from trainworthy.check.run import CheckResult

    Deeper = tuple[tuple[Finding, ...], dict[str, Any] | None, tuple[dict[str, str], ...] | None]

DEEPER = ("--live", "--rehearse")


def asks_for_a_run(words: Sequence[str]) -> bool:
    """Tell whether a command line asks for a script to be run."""
    return any(word.partition("=")[0] in DEEPER for word in words)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a run."""
    add = parser.add_argument
    add(
        "--live",
        type=int,
        metavar="N",
        help="run SCRIPT for N optimizer steps on real data, and a little of the evaluation after them, and look on",
    )
    add("--rehearse", action="store_true", help="rehearse SCRIPT on a virtual GPU, and check the tape")
    add("-m", dest="module", metavar="MODULE", help="run a module, as python -m does")
    add("--time-limit", type=float, default=300.0, metavar="S", help="stop the script after S seconds (default: 300)")
    add("--gpu", metavar="ID", help="with --rehearse: row of `trainworthy gpus`")
    add("--steps", type=int, default=3, metavar="N", help="with --rehearse: optimizer steps to see (default: 3)")
    add("--memory-limit", type=size, metavar="SIZE", help="with --rehearse: most memory of this machine")
    add("--data", metavar="SPEC", help="with --rehearse: shapes instead of a data set that is not here")
    add("--world-size", type=int, metavar="N", help="with --rehearse: compare the ranks of a virtual cluster of N")
    add("--gpus-per-node", type=int, metavar="M", help="with --world-size: ranks of one node")
    add("--suggest-shapes", action="store_true", help="with --rehearse: print shape annotations for the models instead")


def split(parser: argparse.ArgumentParser, words: Sequence[str]) -> tuple[argparse.Namespace, str, list[str]]:
    """Split a command line into our options, the script and its own words."""
    ours, target, args = split_words(parser, words)
    options = parser.parse_args(ours)
    if target is None:
        parser.error("which SCRIPT? Pass a file, -m MODULE or package.module:function")
    return options, target, args


def check_script(options: argparse.Namespace, target: str, args: list[str], config: Config) -> tuple[CheckResult, bool]:
    """Check the source, then the run; returns the findings, and whether the script failed."""
    from trainworthy.check.merge import told_once
    from trainworthy.check.rule import all_rules
    from trainworthy.check.run import CheckResult, check_paths

    is_file = options.module is None and Path(target).is_file()
    static = (
        check_paths([target], config)
        if is_file
        else CheckResult(findings=(), files=0, lines=0, rules=tuple(c for c, r in all_rules().items() if
        config.selects(r)))
    )  # fmt: skip
    with ProgressLine(label="live" if options.live is not None else "rehearsal") as line:
        shared: dict[str, Any] = {
            "args": args, "time_limit_s": options.time_limit, "is_module": options.module is not None,
            "on_progress": line.show,
        }  # fmt: skip
        deeper, error, left_out = (_live if options.live is not None else _dry)(target, options, shared)
    for one in left_out or ():
        print(f"left out: {one['look']} ({one['error']})", file=sys.stderr)  # noqa: T201
    if error is not None:
        where = f" ({error['path']}:{error['line']})" if error.get("path") else ""
        print(f"The script failed{where}: {error['message']}", file=sys.stderr)  # noqa: T201
    rules = all_rules()
    ran = {code for code, one in rules.items() if config.selects(one)}
    more = [
        f for f in deeper
        if config.selects_code(f.code, f.name, rules) and not config.ignored_in(f.place.path, f.code)
    ]  # fmt: skip
    findings = told_once(static.findings, _not_silenced(more))
    return replace(static, findings=tuple(findings), rules=tuple(ran), left_out=left_out), error is not None


def suggested(options: argparse.Namespace, target: str, args: list[str]) -> str:
    """Return shape annotations for the script's modules, as text or JSON."""
    from trainworthy._api.suggest_shapes import suggest_shapes

    if options.live is not None:
        raise UsageError("--suggest-shapes needs shapes only.", where="--live", fix="Use it with --rehearse.")
    with ProgressLine(label="rehearsal") as line:
        found = suggest_shapes(
            target, args=args, time_limit_s=options.time_limit, is_module=options.module is not None, gpu=options.gpu,
            data=options.data, memory_limit_bytes=options.memory_limit, on_progress=line.show,
        )  # fmt: skip
    if options.format == "json":
        rows = [one.to_dict() for one in found]
        return json.dumps({"schema_version": 1, "suggestions": rows}, indent=2, ensure_ascii=False)
    lines = []
    for one in found:
        lines.append(f"{one.path}:{one.line}: {one.class_name}.forward")
        lines += [f"    {'-> ' if name == 'return' else name + ': '}{text}" for name, text in one.annotations.items()]
        lines += [f"    {text}" for text in one.asserts]
    return "\n".join(lines) or "No module of the script's own was called with tensors."


def _live(target: str, options: argparse.Namespace, shared: dict[str, Any]) -> Deeper:
    from trainworthy.check.live.command import check_live

    result = check_live(target, steps=options.live, **shared)
    return result.findings, result.error, result.left_out


def _dry(target: str, options: argparse.Namespace, shared: dict[str, Any]) -> Deeper:
    from trainworthy._api.check_dry import check_rehearsed

    findings, result = check_rehearsed(
        target,
        gpu=options.gpu,
        steps=options.steps,
        memory_limit_bytes=options.memory_limit,
        data=options.data,
        world_size=options.world_size,
        gpus_per_node=options.gpus_per_node,
        **shared,
    )
    return findings, dict(result.error) if result.error is not None else None, None


def _not_silenced(findings: list[Finding]) -> list[Finding]:
    """Leave out what ``# noqa`` silences in the files that the findings are in."""
    from trainworthy.check.noqa import read_noqas, without_silenced
    from trainworthy.check.static.source import UnreadableError, read_source

    noqas = []
    for path in dict.fromkeys(f.place.path for f in findings):
        try:
            noqas += read_noqas(read_source(path, None))
        except (OSError, UnreadableError):
            continue
    return without_silenced(findings, noqas)
