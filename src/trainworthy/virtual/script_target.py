"""What the user asked to rehearse: a file, a module or a function, checked before anything starts."""

from __future__ import annotations

import re
from pathlib import Path

from trainworthy.errors import UsageError
from trainworthy.virtual.script_job import TargetKind

_FUNCTION = re.compile(r"^(?P<where>[\w.]+|.+\.py):(?P<name>[A-Za-z_][\w.]*)$")
_ACCEPTED = "Pass a Python script, a notebook (.ipynb), -m MODULE or package.module:function."


def resolve_target(target: str, *, is_module: bool = False) -> TargetKind:
    """Tell what ``target`` is.

    Raises:
        UsageError: If there is no such file, or it cannot be a script.
    """
    if is_module:
        if not re.fullmatch(r"[\w.]+", target):
            raise UsageError(f"{target!r} is not a module name.", where="-m", fix="Write -m package.module.")
        return "module"
    path = Path(target)
    if path.exists():
        return _file_kind(path)
    match = _FUNCTION.match(target)
    if match is not None:
        where = match["where"]
        if where.endswith(".py") and not Path(where).exists():
            raise UsageError(f"There is no file {where!r}.", where=target, fix=_similar(Path(where)))
        return "function"
    raise UsageError(f"There is no file {target!r}.", fix=_similar(path))


def _file_kind(path: Path) -> TargetKind:
    if path.is_dir():
        inside = sorted(p.name for p in path.glob("*.py"))[:5]
        hint = f" It holds {', '.join(inside)}." if inside else ""
        raise UsageError(f"{str(path)!r} is a folder, not a script.{hint}", fix=_ACCEPTED)
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be read: {error.strerror}.", fix="Check its permissions.") from error
    if b"\0" in start:
        raise UsageError(f"{str(path)!r} is a binary file, not a Python script.", fix=_ACCEPTED)
    return "notebook" if path.suffix == ".ipynb" else "script"


def _similar(path: Path) -> str:
    import difflib

    folder = path.parent
    if folder.is_dir():
        names = [p.name for p in folder.iterdir() if p.suffix in {".py", ".ipynb"}]
        close = difflib.get_close_matches(path.name, names, n=2, cutoff=0.6)
        if close:
            return f"Did you mean {' or '.join(str(folder / name) for name in close)}?"
    return f"The folder is {folder.absolute()}. {_ACCEPTED}"
