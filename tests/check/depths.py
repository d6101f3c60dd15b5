"""Check a small program at one of the depths, in this process; and read the programs of the case files."""

from __future__ import annotations

import contextlib
import re
import sys
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainworthy.check.config import Config
from trainworthy.check.finding import Finding
from trainworthy.check.run import check_file, collect
from trainworthy.check.static.project import Project

EVERYTHING = Config(select=("ALL",))
_MARK = re.compile(r"#\s*<-\s*([A-Z]+\d+(?:\s*,\s*[A-Z]+\d+)*)")
_FENCE = re.compile(r"^```python( \w+)?\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One program of a case file: at which depth it is checked, and what is marked in it."""

    file: str
    number: int
    depth: str
    program: str

    @property
    def name(self) -> str:
        """What a test is called."""
        return f"{self.file}-{self.number}-{self.depth}"

    def marked(self, code: str) -> set[int]:
        """Return the lines marked with ``code``."""
        return {line for line, found in marks(self.program) if found == code}


def marks(program: str) -> Iterator[tuple[int, str]]:
    """Yield the marks of a program, ``# <- TW201``, by line."""
    for number, line in enumerate(program.split("\n"), start=1):
        match = _MARK.search(line)
        for code in match[1].split(",") if match else ():
            yield number, code.strip()


def read_cases(file: Path) -> list[Case]:
    """Read a case file: its programs in fences; ``python live`` names a depth other than static."""
    text = file.read_text(encoding="utf-8")
    return [
        Case(file=file.stem, number=number, depth=(depth or "static").strip(), program=program)
        for number, (depth, program) in enumerate(_FENCE.findall(text), start=1)
    ]


def findings(program: str, depth: str, path: Path) -> list[Finding]:
    """Return what ``check``, a rehearsal, ``check --rehearse``, ``check --live`` or a probe finds in ``program``."""
    found = list(_static(program))
    if depth == "dry":
        found += rehearsed(program, path)
    elif depth == "live":
        found += lived(program, path)
    elif depth == "again":
        found += rehearsed_again(program, path)
    elif depth == "probe":
        found += probed(program, path)
    return found


def _static(program: str) -> tuple[Finding, ...]:
    return read_by(program, EVERYTHING)


def read_by(program: str, config: Config, file: str = "program.py") -> tuple[Finding, ...]:
    """Return what the chosen static rules find in a program."""
    return collect([check_file(file, config, data=program.encode(), project=Project())], config).findings


def rehearsed(program: str, path: Path, *, steps: int = 2) -> tuple[Finding, ...]:
    """Run a program on the virtual GPU and return what the dry rules find on its tape."""
    from trainworthy.check.dry import dry_findings
    from trainworthy.virtual.gpu import VirtualGpu
    from trainworthy.virtual.session import RehearsalComplete, Session

    path.write_text(program, encoding="utf-8")
    virtual = VirtualGpu(None)
    session = Session(virtual, steps=steps)
    with _as_main(path) as names, virtual, session.installed():
        with contextlib.suppress(RehearsalComplete):
            exec(compile(program, str(path), "exec", dont_inherit=True), names)
        virtual.recorder.steps.finish()
        tape = virtual.tape(error=None, steps=session.completed, script=str(path), findings=[], effects=[])
    return dry_findings(tape)


def rehearsed_again(program: str, path: Path) -> tuple[Finding, ...]:
    """Return what ``check --rehearse`` finds, which rehearses with other sizes too."""
    from trainworthy._api.check_dry import check_rehearsed

    path.write_text(program, encoding="utf-8")
    found, result = check_rehearsed(path, steps=2)
    assert result.error is None
    return tuple(found)


def probed(program: str, path: Path) -> tuple[Finding, ...]:
    """Run a program that probes a step and leaves the result in ``found``."""
    path.write_text(program, encoding="utf-8")
    with _as_main(path) as names:
        exec(compile(program, str(path), "exec", dont_inherit=True), names)
    return tuple(names["found"].findings)  # type: ignore[attr-defined]


def lived(program: str, path: Path, *, steps: int = 20, evaluation_too: bool = True) -> tuple[Finding, ...]:
    """Run a program under the guard and return what the live rules find."""
    from trainworthy.check.live.guard import Guard

    path.write_text(program, encoding="utf-8")
    with _as_main(path) as names:
        guard = Guard(
            steps=steps, roots=(str(path.parent),), off_rules_too=True, from_first_line=True,
            evaluation_too=evaluation_too,
        )  # fmt: skip
        with guard:
            exec(compile(program, str(path), "exec", dont_inherit=True), names)
    return guard.findings


_PATCHED = ("torch.optim", "torch.nn.functional", "torch.nn.init", "torch.utils.data")


@contextlib.contextmanager
def _as_main(path: Path) -> Iterator[dict[str, object]]:
    """Let a program be ``__main__``, quietly, and put the process back."""
    import torch

    state, argv, main = torch.get_rng_state(), sys.argv, sys.modules["__main__"]
    # Some programs put faulty functions in place of torch's.
    patched = {
        name: dict(vars(home)) for name, home in sys.modules.items() if name.startswith(_PATCHED) and home is not None
    }
    module = types.ModuleType("__main__")
    module.__file__ = str(path)
    sys.argv, sys.modules["__main__"] = [str(path)], module
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield module.__dict__
    finally:
        sys.argv, sys.modules["__main__"] = argv, main
        for name, before in patched.items():
            for key, value in before.items():
                if vars(sys.modules[name]).get(key) is not value:
                    setattr(sys.modules[name], key, value)
        torch.set_rng_state(state)
        torch.set_grad_enabled(True)
