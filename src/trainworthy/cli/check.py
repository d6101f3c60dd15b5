"""Find mistakes that do not crash, by reading the source; nothing is run and torch is not needed.

With --rehearse the script runs on a virtual GPU too, with --live N for its first N optimizer steps on real data: rules
see shapes, then values. Files that it writes are gone afterwards, in both cases.

$ trainworthy check .
$ trainworthy check train.py --format concise --select TW2,TW3
$ trainworthy check . --baseline known.json --update-baseline
$ trainworthy check - < train.py
$ trainworthy check --rehearse train.py --batch-size 8
$ trainworthy check --live 20 train.py
$ trainworthy check --lsp
$ trainworthy explain TW201

The exit code is 1 if something was found, 2 for wrong use. A line is silenced by `# noqa: TW201`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from trainworthy.cli.check_script import add_run_options, asks_for_a_run, check_script, split, suggested
from trainworthy.cli.options import emit
from trainworthy.errors import UsageError

if TYPE_CHECKING:
    from trainworthy.check.config import Config
    from trainworthy.check.run import CheckResult

_FORMATS = ("full", "concise", "json", "sarif", "github", "gitlab", "junit")


def run(parser: argparse.ArgumentParser, words: Sequence[str]) -> int:
    """Check files and print what was found."""
    _add_options(parser)
    if asks_for_a_run(words):
        return _run_script(parser, words)
    options = parser.parse_args(words)
    if options.lsp:
        from trainworthy.check.lsp import serve
        from trainworthy.report.findings.page import rule_page

        return serve(sys.stdin.buffer, sys.stdout.buffer, rule_page)
    if options.list_rules:
        emit(_rule_list(options), options.output)
        return 0
    if not options.paths:
        parser.error("which PATH? `trainworthy check .` takes all below this folder, `-` standard input")
    config = _config(options)
    result, stdin = _check(options, config)
    if options.fix or options.diff:
        from trainworthy.check.fixing import apply_fixes

        changed, diff = apply_fixes(result.findings, write=options.fix)
        if options.diff:
            emit(diff, options.output)
            return 1 if changed and not options.exit_zero else 0
        if changed:
            print(f"{changed} files mended", file=sys.stderr)  # noqa: T201
            result, stdin = _check(options, config)
    return _report(result, options, config, stdin)


def _run_script(parser: argparse.ArgumentParser, words: Sequence[str]) -> int:
    """Check a script that is rehearsed, or run for real."""
    options, target, args = split(parser, words)
    options.paths = [target]
    if options.suggest_shapes:
        emit(suggested(options, target, args), options.output)
        return 0
    config = _config(options)
    result, failed = check_script(options, target, args, config)
    code = _report(result, options, config, {})
    return 1 if failed and not options.exit_zero else code


def _add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("paths", nargs="*", metavar="PATH", help="files or folders; - is standard input")
    add("--select", metavar="CODES", help="only these: codes, beginnings of codes, names, or ALL")
    add("--extend-select", metavar="CODES", help="these, too")
    add("--ignore", metavar="CODES", help="not these")
    add("--format", choices=_FORMATS, default="full", help="what is printed or written (default: full)")
    add("--output", metavar="PATH", help="write there instead of printing")
    add("--fix", action="store_true", help="mend what can be mended safely")
    add("--diff", action="store_true", help="show what --fix would change, and change nothing")
    add("--statistics", action="store_true", help="count findings by rule")
    add("--baseline", metavar="FILE", help="leave out the findings listed there")
    add("--update-baseline", action="store_true", help="write the findings into the baseline, and leave with 0")
    add("--stdin-filename", metavar="PATH", default="-", help="what standard input is called")
    add("--jobs", type=int, metavar="N", help="processes (default: one a core)")
    add("--isolated", action="store_true", help="read no pyproject.toml")
    add("--exit-zero", action="store_true", help="leave with 0 whatever is found")
    add("--list-rules", action="store_true", help="list the rules")
    add("--lsp", action="store_true", help="be a language server for editors, on standard input and output")
    add_run_options(parser)


def _config(options: argparse.Namespace) -> Config:
    from trainworthy.check.config import Config, load_config, parse_codes

    first = options.paths[0] if options.paths and options.paths[0] != "-" else "."
    config = Config() if options.isolated else load_config(first)
    if options.select is not None:
        config = replace(config, select=parse_codes(options.select, "--select"), extend_select=())
    if options.extend_select is not None:
        extra = parse_codes(options.extend_select, "--extend-select")
        config = replace(config, extend_select=(*config.extend_select, *extra))
    if options.ignore is not None:
        config = replace(config, ignore=(*config.ignore, *parse_codes(options.ignore, "--ignore")))
    if options.jobs is not None and options.jobs < 1:
        raise UsageError(f"--jobs is {options.jobs}; it must be at least 1.")
    return replace(config, jobs=options.jobs or config.jobs, baseline=options.baseline or config.baseline)


def _check(options: argparse.Namespace, config: Config) -> tuple[CheckResult, dict[str, str]]:
    from trainworthy.check.run import check_paths

    for path in options.paths:
        if path != "-" and not Path(path).exists():
            raise UsageError(f"{path!r} is neither a file nor a folder.", where="trainworthy check")
    data = sys.stdin.buffer.read() if "-" in options.paths else None
    result = check_paths(options.paths, config, stdin=data, stdin_name=options.stdin_filename)
    texts = {} if data is None else {options.stdin_filename: data.decode("utf-8", errors="replace")}
    return result, texts


def _report(result: CheckResult, options: argparse.Namespace, config: Config, texts: dict[str, str]) -> int:
    from trainworthy.check.baseline import read_baseline, without_known, write_baseline
    from trainworthy.report import findings as report

    if options.update_baseline:
        if config.baseline is None:
            raise UsageError("--update-baseline needs --baseline FILE.", where="trainworthy check")
        count = write_baseline(config.baseline, result.findings)
        emit(f"{count} findings are known now: {config.baseline}", None)
        return 0
    if config.baseline is not None:
        result = replace(result, findings=tuple(without_known(result.findings, read_baseline(config.baseline))))
    if options.statistics:
        text = report.statistics(result.findings)
    elif options.format != "full":
        text = report.render(result, options.format)
    else:
        from trainworthy.report.findings.full import render_full

        color = options.output is None and sys.stdout.isatty()
        text = render_full(result, color=color, sources=texts)
    if text:
        emit(text, options.output)
    return 1 if result.findings and not options.exit_zero else 0


def _rule_list(options: argparse.Namespace) -> str:
    from trainworthy.check.rule import FAMILIES, all_pages

    rules = list(all_pages().values())
    if options.format == "json":
        rows = [
            {
                "code": one.code, "name": one.name, "severity": one.severity, "depths": one.depths,
                "summary": one.summary, "default": one.default,
            }
            for one in rules
        ]  # fmt: skip
        return json.dumps(rows, indent=2, ensure_ascii=False)
    lines: list[str | None] = []
    for prefix, family in FAMILIES.items():
        members = [one for one in rules if one.code.startswith(prefix)]
        if members:
            lines += ["" if lines else None, f"{prefix}  {family}"]
            lines += [f"  {one.code}  {one.severity:7}  {one.name:32}  {_depths(one)}" for one in members]
    return "\n".join(line for line in lines if line is not None)


def _depths(rule: object) -> str:
    depths = str(getattr(rule, "found_by", ""))
    return depths if getattr(rule, "default", True) else f"{depths}; select it"
