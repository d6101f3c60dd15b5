"""Show a rule step by step: the answer, a picture, the formula with its source, and code that proves it.

$ trainworthy explain broadcast "(8,1,6,1)" "(7,1,5)"
$ trainworthy explain --list
$ trainworthy explain conv --help
$ trainworthy explain TW201

Without further words a subject shows a worked example. The exit code is 1 if the shapes do not go together.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from trainworthy.cli.options import add_output_options, emit
from trainworthy.errors import UsageError

if TYPE_CHECKING:
    from trainworthy.explain import Explanation, Subject


def run(parser: argparse.ArgumentParser, words: Sequence[str]) -> int:
    """Explain one subject, or list them all."""
    parser.usage = "trainworthy explain SUBJECT [OPTIONS]\n       trainworthy explain --list"
    _add_options(parser)
    parser.add_argument("--list", action="store_true", help="list the subjects")
    for word in words:
        if not word.isprintable():  # argparse would print it as it is
            raise UsageError(f"{word!r} has characters that cannot be printed.", where="trainworthy explain")
    at = _place_of_subject(parser, words)
    if at is not None:
        return _explain(words[at], [*words[:at], *words[at + 1 :]])
    options = parser.parse_args(words)
    if not options.list:
        parser.error("which subject? `trainworthy explain --list` lists them")
    if options.format == "html":
        parser.error("--list is printed as text or json")
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() and options.output is None else 0
    emit(_list_json() if options.format == "json" else _list_text(width), options.output)
    return 0


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_output_options(parser)
    parser.add_argument("--exit-zero", action="store_true", help="leave with 0 whatever the answer is")


def _place_of_subject(parser: argparse.ArgumentParser, words: Sequence[str]) -> int | None:
    """Find the first word that is neither an option nor the value of one."""
    at = 0
    while at < len(words):
        word = words[at]
        if not word.startswith("-"):
            return at
        action = parser._option_string_actions.get(word)
        at += 2 if action is not None and action.nargs is None else 1
    return None


def _explain(name: str, words: Sequence[str]) -> int:
    if re.fullmatch(r"(?i)tw\d{3}", name):
        return _explain_rule(name, words)
    from trainworthy.explain import find_subject
    from trainworthy.explain.arguments import accept_negatives

    subject = find_subject(name)
    parser = _Parser(
        prog=f"trainworthy explain {subject.name}",
        description=f"{subject.summary[0].upper()}{subject.summary[1:]}.",
        epilog="examples:\n" + "\n".join(f"  trainworthy explain {subject.name} {line}" for line in subject.examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    subject.arguments(parser)
    accept_negatives(parser)
    _add_options(parser)
    options = parser.parse_args(words)
    explanation = subject.answer(options)
    emit(_render(explanation, options), options.output)
    return 1 if explanation.problem and not options.exit_zero else 0


def _explain_rule(code: str, words: Sequence[str]) -> int:
    """Print the page of a rule of ``trainworthy check``."""
    from trainworthy.check.rule import find_rule
    from trainworthy.report.findings.page import rule_page, rule_to_dict

    parser = _Parser(prog=f"trainworthy explain {code}", allow_abbrev=False)
    add_output_options(parser, ("text", "json"))
    options = parser.parse_args(words)
    found = find_rule(code)
    as_json = options.format == "json"
    emit(json.dumps(rule_to_dict(found), indent=2, ensure_ascii=False) if as_json else rule_page(found), options.output)
    return 0


class _Parser(argparse.ArgumentParser):
    """Quotes what would change the colours of a terminal when it repeats a wrong word."""

    def error(self, message: str) -> NoReturn:
        super().error("".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in message))


def _render(explanation: Explanation, options: argparse.Namespace) -> str:
    if options.format == "json":
        return json.dumps(explanation.to_dict(), indent=2, ensure_ascii=False)
    if options.format == "html":
        from trainworthy.explain.html import render_html

        return render_html([explanation])
    from trainworthy.explain.text import render_text

    return render_text(explanation) if options.output is None else render_text(explanation, width=0, color=False)


def _list_text(width: int) -> str:
    """List the subjects by group, wrapped to a terminal; 0 does not wrap."""
    lines: list[str] = []
    for group, members in _grouped():
        lines += ([""] if lines else []) + [group]
        for subject in members:
            parts = textwrap.wrap(subject.summary, width=max(width - 21, 20)) if width else [subject.summary]
            lines += [f"  {subject.name if at == 0 else '':18} {part}" for at, part in enumerate(parts)]
    return "\n".join(lines)


def _list_json() -> str:
    rows = [
        {"name": s.name, "group": s.group, "summary": s.summary, "aliases": s.aliases, "examples": s.examples}
        for _, members in _grouped()
        for s in members
    ]
    return json.dumps(rows, indent=2, ensure_ascii=False)


def _grouped() -> list[tuple[str, list[Subject]]]:
    from trainworthy.explain import all_subjects
    from trainworthy.explain.registry import GROUPS

    found = list(all_subjects().values())
    grouped = [(group, [s for s in found if s.group == group]) for group in GROUPS]
    return [(group, members) for group, members in grouped if members]
