"""Find the code that a rehearsal runs and prepare the interpreter as Python itself would."""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import io
import os
import runpy
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainworthy.errors import UsageError
from trainworthy.virtual.notebook import Shell, compile_cell, read_notebook
from trainworthy.virtual.script_job import Job


@dataclass(slots=True)
class Program:
    """What to run. ``function`` is set for ``module:function``; ``skipped`` are notebook lines."""

    roots: tuple[str, ...]
    run: Callable[[], None] | None = None
    function: Callable[[], Callable[[], Any]] | None = None
    skipped: list[str] = field(default_factory=list)


def load_program(job: Job) -> Program:
    """Prepare ``sys.argv``, ``sys.path`` and ``__main__`` for ``job``; nothing is run yet.

    Raises:
        UsageError: If the file cannot be read.
    """
    loaders = {
        "script": _load_script,
        "module": _load_module,
        "function": _load_function,
        "notebook": _load_notebook,
    }
    return loaders[job.kind](job)


def _load_script(job: Job) -> Program:
    path = Path(job.target).absolute()
    folder = str(Path(os.path.realpath(path)).parent)
    sys.argv = [job.target, *job.args]
    sys.path[0] = folder
    main = _main_module(str(path))
    source = read_source(path)

    def run() -> None:
        exec(compile(source, str(path), "exec", dont_inherit=True), main.__dict__)

    return Program(roots=(folder,), run=run)


def read_source(path: Path) -> bytes:
    """Read a script.

    Raises:
        UsageError: If the file is not text.
    """
    with io.open_code(str(path)) as file:
        source = file.read()
    if b"\0" in source:
        raise UsageError(
            "The file is not Python source text: it holds null bytes.",
            where=str(path),
            fix="Pass a Python script, a notebook (.ipynb), -m MODULE or package.module:function.",
        )
    return source


def _main_module(file: str | None) -> types.ModuleType:
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = builtins
    if file is not None:
        main.__file__ = file
        main.__dict__["__cached__"] = None
    sys.modules["__main__"] = main
    return main


def _load_module(job: Job) -> Program:
    sys.path[0] = str(Path.cwd())
    details: Any = getattr(runpy, "_get_module_details")  # noqa: B009 - private, and the only way
    try:
        _, spec, code = details(job.target)
    except ImportError as error:
        raise UsageError(
            f"No module {job.target!r} to run: {error}.",
            where=f"-m {job.target}",
            fix="Run from the folder that holds the package, or install it.",
        ) from error
    sys.argv = [spec.origin, *job.args]
    main = _main_module(spec.origin)
    main.__spec__ = spec
    main.__package__ = spec.parent
    main.__loader__ = spec.loader
    return Program(roots=(str(Path(spec.origin).parent),), run=lambda: exec(code, main.__dict__))


def _load_function(job: Job) -> Program:
    where, _, name = job.target.rpartition(":")
    sys.argv = [where, *job.args]
    sys.path[0] = str(Path.cwd())
    is_file = where.endswith(".py")
    if is_file:
        path = Path(where).absolute()
        sys.path[0] = str(path.parent)
        roots = (str(path.parent),)
    else:
        spec = importlib.util.find_spec(where.partition(".")[0])
        roots = (str(Path(spec.origin).parent) if spec and spec.origin else str(Path.cwd()),)

    def function() -> Callable[[], Any]:
        module = _import_file(path) if is_file else importlib.import_module(where)
        found: Any = module
        for part in name.split("."):
            if not hasattr(found, part):
                raise AttributeError(f"{where} has no attribute {name!r}")
            found = getattr(found, part)
        if not callable(found):
            raise TypeError(f"{job.target} is {type(found).__name__}, not a function")
        result: Callable[[], Any] = found
        return result

    return Program(roots=roots, function=function)


def _import_file(path: Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _load_notebook(job: Job) -> Program:
    path = Path(job.target).absolute()
    notebook = read_notebook(path)
    sys.argv = [job.target, *job.args]
    sys.path[0] = str(path.parent)
    main = _main_module(None)
    main.__dict__.update(get_ipython=Shell, display=print)

    def run() -> None:
        for cell in notebook.cells:
            exec(compile_cell(cell), main.__dict__)

    return Program(roots=(str(path.parent),), run=run, skipped=notebook.skipped)
