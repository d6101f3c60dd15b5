"""Subjects: registered by decorator, found by being in the folder ``subjects/``."""

from __future__ import annotations

import argparse
import dataclasses
import pkgutil
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Literal, NoReturn

from trainworthy.errors import UsageError
from trainworthy.explain import subjects as _folder
from trainworthy.explain.arguments import accept_negatives
from trainworthy.explain.explanation import Explanation

Group = Literal["shapes", "layers", "indexing", "numbers", "losses", "cost", "parallel"]
GROUPS: tuple[Group, ...] = ("shapes", "layers", "indexing", "numbers", "losses", "cost", "parallel")

Explain = Callable[[argparse.Namespace], Explanation]
AddArguments = Callable[[argparse.ArgumentParser], None]

_subjects: dict[str, Subject] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One thing that can be explained.

    Attributes:
        name: What is typed after ``trainworthy explain``: lower case, words joined by dashes.
        summary: One line for ``--list``.
        group: The heading it is listed under.
        explain: Answers; gets the parsed options.
        arguments: Adds the options to a parser.
        examples: Words as they are typed after the name.
        aliases: Other names.
    """

    name: str
    summary: str
    group: Group
    explain: Explain
    arguments: AddArguments
    examples: tuple[str, ...]
    aliases: tuple[str, ...]

    def answer(self, options: argparse.Namespace) -> Explanation:
        """Explain, and put the name of the subject into the answer."""
        return dataclasses.replace(self.explain(options), subject=self.name)


def subject(
    name: str,
    *,
    summary: str,
    group: Group,
    arguments: AddArguments,
    examples: Sequence[str],
    aliases: Sequence[str] = (),
) -> Callable[[Explain], Explain]:
    """Register the decorated function as the subject ``name``.

    Raises:
        ValueError: If the name, or an alias, is taken.
    """

    def register(explain: Explain) -> Explain:
        for word in (name, *aliases):
            other = next((s for s in _subjects.values() if word in (s.name, *s.aliases)), None)
            if other is not None:
                raise ValueError(f"{word!r} is registered twice: {other.explain.__module__} and {explain.__module__}")
        _subjects[name] = Subject(
            name=name, summary=summary, group=group, explain=explain, arguments=arguments, examples=tuple(examples),
            aliases=tuple(aliases),
        )  # fmt: skip
        return explain

    return register


def all_subjects() -> dict[str, Subject]:
    """Return every subject by name, sorted; imports the whole folder."""
    for module in pkgutil.iter_modules(_folder.__path__):
        import_module(f"{_folder.__name__}.{module.name}")
    return dict(sorted(_subjects.items()))


def find_subject(name: str) -> Subject:
    """Return the subject of that name or alias; upper and lower case, dashes and underscores are the same.

    >>> find_subject("Broadcasting").name
    'broadcast'

    Raises:
        UsageError: If there is none; the message names near ones.
    """
    wanted = "-".join(name.replace("_", " ").replace("-", " ").split()).casefold()
    module = wanted.replace("-", "_")
    # The usual case is one import: a file is named as its subject.
    if any(found.name == module for found in pkgutil.iter_modules(_folder.__path__)):
        import_module(f"{_folder.__name__}.{module}")
    found = _subjects.get(wanted) or _by_any_name().get(wanted)
    if found is not None:
        return found
    near = _near(wanted)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    raise UsageError(
        f"Nothing explains {name!r}.", where="trainworthy explain",
        fix=f"{hint}`trainworthy explain --list` lists {len(all_subjects())} subjects.",
    )  # fmt: skip


def answer(name: str, /, *words: object, **options: object) -> Explanation:
    """Explain ``name`` from Python; words and options are those of the command line.

    >>> answer("broadcast", (8, 1, 6, 1), (7, 1, 5)).result
    '(8, 7, 6, 5), 1,680 elements'

    Args:
        name: A subject of ``trainworthy explain --list``.
        words: What is typed after the name; shapes may be tuples.
        options: ``kernel=7`` is ``--kernel 7``; True sets a flag; None is left out.

    Raises:
        UsageError: If there is no such subject or option, or a value is wrong.
        ShapeError: If the shapes do not go together.
    """
    found = find_subject(name)
    parser = _Parser(prog=f"explain {found.name}", add_help=False, allow_abbrev=False)
    found.arguments(parser)
    accept_negatives(parser)
    line = [str(word) for word in words]
    for option, value in options.items():
        flag = f"--{option.replace('_', '-')}"
        if value is True:
            line.append(flag)
        elif value not in (None, False):
            line.append(f"{flag}={value}")
    return found.answer(parser.parse_args(line))


class _Parser(argparse.ArgumentParser):
    """Raises instead of leaving the process."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[:1].upper()}{message[1:]}.", where=self.prog)


def _by_any_name() -> dict[str, Subject]:
    return {name: found for found in all_subjects().values() for name in (found.name, *found.aliases)}


def _near(wanted: str) -> list[str]:
    import difflib

    known = _by_any_name()
    close = difflib.get_close_matches(wanted, known, n=3, cutoff=0.6)
    inside = [name for name in known if wanted and (wanted in name or name in wanted)]
    # One line a subject, whichever of its names was met.
    return list(dict.fromkeys(known[name].name for name in [*close, *inside]))[:3]


def example_words(example: str) -> list[str]:
    """Split an example as a shell does.

    >>> example_words('"(8,1,6,1)" "(7,1,5)"')
    ['(8,1,6,1)', '(7,1,5)']
    """
    return shlex.split(example)
