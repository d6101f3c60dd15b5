"""Everything trainworthy raises on purpose.

::

    TrainworthyError              exit code 2
    ├── UsageError                the command line or an argument is wrong
    │   └── FormulaError          a formula is not defined for that value
    ├── ShapeError                exit code 1: the shapes asked about do not go together
    ├── UnknownGpuError           no row of hardware/ has that name
    ├── UnknownLinkError          no row of hardware/links/ has that name
    ├── UnknownCpuError           no row of hardware/cpus/ has that name
    ├── HardwareRowError          a row of hardware/ contradicts itself
    ├── TapeError                 a tape file is damaged, truncated or hostile
    │   └── TapeVersionError      a tape file of another version
    ├── MissingTorchError         torch is needed and not installed
    ├── TrainError                exit code 1: a training run cannot go on
    └── ScriptError               exit code 1: the user's script is what failed

A message says three things: *what* is wrong with the values, *where*, and *what to do*. ``str(error)`` prints them on
up to three lines; a command prints that, no traceback, and leaves with ``exit_code``.
"""

from __future__ import annotations

from typing import ClassVar


class TrainworthyError(Exception):
    """What is wrong, where, and what to do about it.

    >>> print(TrainworthyError("No such file.", where="train.py", fix="Check the path."))
    No such file.
      where: train.py
      fix:   Check the path.

    Attributes:
        message: What is wrong, with the offending values.
        where: The file, line, option or table that it is about.
        fix: What the reader can do.
        exit_code: What a command leaves with.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, *, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        """Return the message, then ``where`` and ``fix`` on lines of their own."""
        lines = [self.message]
        if self.where is not None:
            lines.append(f"  where: {self.where}")
        if self.fix is not None:
            lines.append(f"  fix:   {self.fix}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        """Survive pickling: an error of the child process is raised again in the parent."""
        return (_rebuild, (type(self), dict(self.__dict__), self.args))


def _rebuild(kind: type[TrainworthyError], state: dict[str, object], args: tuple[object, ...]) -> TrainworthyError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class UsageError(TrainworthyError):
    """The command line, an option or an argument is wrong."""


class ShapeError(TrainworthyError):
    """The shapes that were asked about do not go together; this is an answer, not a fault of trainworthy."""

    exit_code: ClassVar[int] = 1


class UnknownGpuError(TrainworthyError):
    """No row of ``hardware/`` has that name; nothing is guessed from a name."""


class UnknownLinkError(TrainworthyError):
    """No row of ``hardware/links/`` has that name."""


class UnknownCpuError(TrainworthyError):
    """No row of ``hardware/cpus/`` has that name."""


class HardwareRowError(TrainworthyError):
    """A row of ``hardware/`` is incomplete or contradicts the independent facts beside it."""


class FormulaError(UsageError):
    """A formula was given a value that it is not defined for.

    >>> print(FormulaError("ranks", 0, "a whole number of at least 1"))
    ranks is 0; it must be a whole number of at least 1.

    Attributes:
        argument: The name of the argument.
        value: The value that was given.
    """

    def __init__(self, argument: str, value: object, requirement: str, *, fix: str | None = None) -> None:
        super().__init__(f"{argument} is {value!r}; it must be {requirement}.", fix=fix)
        self.argument = argument
        self.value = value


class TapeError(TrainworthyError):
    """A tape file is damaged, truncated or not a tape."""


class TapeVersionError(TapeError):
    """A tape file was written in a version of the format that this version does not read."""


class MissingTorchError(TrainworthyError):
    """Something needs torch, and torch is not installed."""

    def __init__(self, purpose: str = "This") -> None:
        super().__init__(
            f"{purpose} needs PyTorch, and no module named 'torch' can be imported.",
            fix="pip install 'trainworthy[torch]', or install the build of torch that fits your machine.",
        )


class TrainError(TrainworthyError):
    """A training run cannot start or go on; what its recipe or its numbers did is the answer."""

    exit_code: ClassVar[int] = 1


class ScriptError(TrainworthyError):
    """The user's script failed; this is an answer, not a fault of trainworthy.

    Attributes:
        kind: A short, stable identifier such as ``"exception"``, ``"timeout"`` or ``"aborted"``.
        path: The file of the failing line, as the user would write it; None if unknown.
        line: The failing line, counted from 1; None if unknown.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self, message: str, *, kind: str, path: str | None = None, line: int | None = None, fix: str | None = None
    ) -> None:
        where = path if line is None or path is None else f"{path}:{line}"
        super().__init__(message, where=where, fix=fix)
        self.kind = kind
        self.path = path
        self.line = line
