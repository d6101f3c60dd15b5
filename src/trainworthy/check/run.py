"""Checks files: one at a time, or many in parallel processes."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from trainworthy.check.config import Config
from trainworthy.check.finding import SEVERITIES, Finding, Hit, Place, Severity
from trainworthy.check.noqa import Noqa, read_noqas, unused, without_silenced
from trainworthy.check.rule import Rule, all_rules
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.project import Project
from trainworthy.check.static.source import Source, UnreadableError, read_source

_RECURSION = 6000
_MANY_OBJECTS = 1_000_000  # made and not freed since the collector last looked, about 200 MB
_FEW_FILES = 12  # for so few, starting processes takes longer than the work
_CHUNKS_A_JOB = 8  # so many that processes end together
_HINT_KINDS = frozenset({"too-large", "too-deep"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FileResult:
    """What one file gave.

    Attributes:
        path: The file.
        lines: How many it has.
        findings: Before ``# noqa``; also such in other files that this one calls.
        noqas: Its comments.
    """

    path: str
    lines: int
    findings: tuple[Finding, ...]
    noqas: tuple[Noqa, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What a check gave: findings in order, and what was looked at; of a run, also which looks failed by themselves."""

    findings: tuple[Finding, ...]
    files: int
    lines: int
    rules: tuple[str, ...]
    left_out: tuple[dict[str, str], ...] | None = None


def check_paths(
    paths: Sequence[str], config: Config, *, stdin: bytes | None = None, stdin_name: str = "-"
) -> CheckResult:
    """Check files and folders; ``-`` is ``stdin``."""
    files = list(dict.fromkeys(expand(paths, config)))
    results = list(_check_all([one for one in files if one != "-"], config))
    if "-" in files:
        results.append(check_file(stdin_name, config, data=stdin or b"", project=Project()))
    return collect(results, config)


def collect(results: Sequence[FileResult], config: Config) -> CheckResult:
    """Put files together: each finding once, without what ``# noqa`` silences, with the unused comments."""
    paths = {one.path for one in results}
    found = {
        (one.code, one.place): one
        for result in results
        for one in result.findings
        if one.place.path in paths and not config.ignored_in(one.place.path, one.code)
    }
    noqas = [noqa for result in results for noqa in result.noqas]
    findings = _told_once(without_silenced(found.values(), noqas))
    rules = selected(config)
    if "TW890" in rules:
        codes = set(rules)
        ran = [noqa for noqa in noqas if noqa.codes is None or codes.issuperset(noqa.codes)]
        findings += [rules["TW890"].finding(hit, "static") for hit in unused(ran)]
    return CheckResult(
        findings=tuple(sorted(findings, key=lambda one: one.order)),
        files=len(results),
        lines=sum(one.lines for one in results),
        rules=tuple(rules),
    )


def _told_once(findings: Sequence[Finding]) -> list[Finding]:
    """Leave out what graver findings say already."""
    told: dict[str, int] = {}
    for one in findings:
        for defect in one.defects:
            told[defect] = min(told.get(defect, len(SEVERITIES)), SEVERITIES.index(one.severity))

    def is_told(finding: Finding) -> bool:
        own = SEVERITIES.index(finding.severity)
        return bool(finding.defects) and all(told[defect] < own for defect in finding.defects)

    return [one for one in findings if not is_told(one)]


@lru_cache(maxsize=16)
def selected(config: Config) -> dict[str, Rule]:
    """Return the static rules that run."""
    return {code: one for code, one in all_rules().items() if "static" in one.finders and config.selects(one)}


def check_file(path: str, config: Config, *, data: bytes | None = None, project: Project) -> FileResult:
    """Check one file; whatever it holds, this returns."""
    shown = _shown(path)
    try:
        known = project.known(shown) if data is None else None
        source = known or read_source(shown if data is None else path, data)
    except UnreadableError as error:
        return FileResult(path=shown, lines=0, findings=tuple(_unreadable(shown, error, config)))
    return check_source(source, config, project)


def check_source(source: Source, config: Config, project: Project) -> FileResult:
    """Check a program that was read already."""
    findings: list[Finding] = []
    try:
        analysis = Analysis(source, project)
        for one in selected(config).values():
            findings += one.findings("static", analysis)
    except RecursionError:
        error = UnreadableError("nested too deeply to be followed", kind="too-deep")
        findings = list(_unreadable(source.path, error, config))
    findings += _broken_cells(source, config)
    return FileResult(
        path=source.path, lines=len(source.lines), findings=tuple(findings), noqas=tuple(read_noqas(source))
    )


def _unreadable(path: str, error: UnreadableError, config: Config) -> Iterator[Finding]:
    one = selected(config).get("TW901")
    if one is not None:
        severity: Severity = "hint" if error.kind in _HINT_KINDS else "error"
        place = Place(path, error.line, error.column)
        yield one.finding(Hit(place=place, message=error.message, severity=severity), "static")


def _broken_cells(source: Source, config: Config) -> Iterator[Finding]:
    one = selected(config).get("TW901")
    for line, message in source.problems if one is not None else ():
        if one is not None:
            yield one.finding(Hit(place=source.span(line), message=message), "static")


# --- many files -----------------------------------------------------------------------------------------------------


def _check_all(files: list[str], config: Config) -> Iterator[FileResult]:
    sys.setrecursionlimit(max(sys.getrecursionlimit(), _RECURSION))
    jobs = min(config.jobs or os.cpu_count() or 1, len(files))
    if jobs <= 1 or len(files) <= _FEW_FILES:
        yield from _check_chunk(files, config, Project())
        return
    chunks = _chunks(files, jobs * _CHUNKS_A_JOB)
    selected(config)  # here rather than in every process
    with ProcessPoolExecutor(jobs, initializer=_start_process) as pool:
        for results in pool.map(_check_in_process, chunks, [config] * len(chunks)):
            yield from results


def _start_process() -> None:
    sys.setrecursionlimit(_RECURSION)
    gc.disable()  # for good: what is collected, and when, is decided in `_check_chunk`


def _check_in_process(files: list[str], config: Config) -> list[FileResult]:
    return _check_chunk(files, config, _project_of_process())


@lru_cache(maxsize=1)
def _project_of_process() -> Project:
    return Project()


def _chunks(files: list[str], count: int) -> list[list[str]]:
    """Cut into runs of neighbours, which import each other and so are read once; of about equal bytes."""
    sizes = [_size(one) for one in files]
    share = sum(sizes) / count + 1
    chunks: list[list[str]] = [[]]
    filled = 0.0
    for file, size in zip(files, sizes, strict=True):
        if filled >= share:
            chunks.append([])
            filled = 0.0
        chunks[-1].append(file)
        filled += size
    return chunks


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def _check_chunk(files: list[str], config: Config, project: Project) -> list[FileResult]:
    # Trees live until the end, and the collector would only walk them again and again. What was understood of a file
    # holds cycles: it goes once there is much of it, and trees that are still there are not walked again.
    enabled = gc.isenabled()
    gc.disable()
    try:
        results = []
        for file in files:
            results.append(check_file(file, config, project=project))
            if gc.get_count()[0] > _MANY_OBJECTS:
                gc.collect(0)
        return results
    finally:
        if enabled:
            gc.enable()


def _shown(path: str) -> str:
    return path.removeprefix("./")


# --- which files ----------------------------------------------------------------------------------------------------


def expand(paths: Iterable[str], config: Config) -> Iterator[str]:
    """Yield the files below folders, sorted; what is named is taken whatever it is called."""
    for path in paths:
        if path != "-" and Path(path).is_dir():
            yield from _walk(path, config)
        else:
            yield path


def _walk(folder: str, config: Config) -> Iterator[str]:
    # Links to folders are not followed, so they cannot lead in a circle.
    for root, folders, files in os.walk(folder, followlinks=False):
        folders[:] = sorted(one for one in folders if not config.excludes(one))
        for name in sorted(files):
            path = str(Path(root, name))
            if name.endswith((".py", ".ipynb")) and not config.excludes(name) and not _dangling(path):
                yield path


def _dangling(path: str) -> bool:
    return Path(path).is_symlink() and not Path(path).is_file()
