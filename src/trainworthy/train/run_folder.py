"""The folder of a run: what it was asked to do, on what it ran, and that nothing of another run is overwritten.

::

    config.yaml        every setting, resolved; `--config` accepts it back
    recipe.py          the file of the recipe as it was
    environment.json   one entry for each start: versions, machine, command line, commit
    metrics.jsonl      a line for each logged step and each evaluation
    checkpoints/       what `--resume` goes on from
    report.md, report.html   how it went

"""

from __future__ import annotations

import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from trainworthy._version import __version__
from trainworthy.train.config import Resolved, differing, read_saved
from trainworthy.train.schema import ConfigError, shown

CONFIG: Final = "config.yaml"
ENVIRONMENT: Final = "environment.json"
RECIPE: Final = "recipe.py"
METRICS: Final = "metrics.jsonl"
CHECKPOINTS: Final = "checkpoints"
_PACKAGES: Final = ("torch", "numpy", "safetensors", "omegaconf", "scikit-learn", "tensorboard")
_SHOWN_KEYS: Final = 5


def prepare(folder: Path, resolved: Resolved, *, words: Sequence[str], ranks: int = 1) -> str | None:
    """Make the folder of a run, or see that it is this run's; the process of rank 0 does it, once.

    Args:
        folder: Where.
        resolved: The recipe and its settings.
        words: The command line, for the record.
        ranks: Processes of the run.

    Returns:
        What the user should know: the recipe's file was changed since the run began.

    Raises:
        ConfigError: If the folder holds another run, or something else; the keys that differ are named.
    """
    check_folder(folder, resolved)
    saved = folder / CONFIG
    warning = None
    if saved.is_file():
        warning = _changed_file(folder, resolved.source.path)
    else:
        _make(folder)
        text = f"# trainworthy train {resolved.source.name} --config {CONFIG}\n{resolved.to_yaml()}"
        _write(folder / RECIPE, resolved.source.path.read_text(encoding="utf-8"))
        _write(saved, text)
    starts = [*read_starts(folder), environment(resolved, words=words, ranks=ranks)]
    _write(folder / ENVIRONMENT, json.dumps({"schema_version": 1, "starts": starts}, indent=2) + "\n")
    return warning


def check_folder(folder: Path, resolved: Resolved) -> None:
    """See that a folder is free, or this run's.

    Raises:
        ConfigError: If it is neither.
    """
    if (folder / CONFIG).is_file():
        _must_be_same(folder, resolved)
    else:
        _must_be_free(folder)


def read_starts(folder: Path) -> list[dict[str, Any]]:
    """Return what environment.json holds; nothing if it is not there or was cut short."""
    try:
        return list(json.loads((folder / ENVIRONMENT).read_text(encoding="utf-8"))["starts"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def environment(resolved: Resolved, *, words: Sequence[str], ranks: int) -> dict[str, Any]:
    """Return on what a run starts: time (UTC), versions, machine, command line, commit of the recipe."""
    versions = {"python": platform.python_version(), "trainworthy": __version__}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "recipe": resolved.source.name,
        "command": ["trainworthy", "train", *words],
        "ranks": ranks,
        "versions": versions,
        "machine": {"system": platform.platform(), "cpus": os.cpu_count(), "gpus": _gpus()},
        "commit": _commit(resolved.source.path.resolve().parent),
    }


def _must_be_same(folder: Path, resolved: Resolved) -> None:
    starts = read_starts(folder)
    before = starts[0].get("recipe") if starts else None
    old, new = read_saved(folder / CONFIG), _saved_form(resolved)
    keys = differing(old, new)
    if not keys and before in (None, resolved.source.name):
        return
    named = [f"{key} {_was(old, key)} there and {_was(new, key)} here" for key in keys[:_SHOWN_KEYS]]
    more = f" and {len(keys) - _SHOWN_KEYS} more" if len(keys) > _SHOWN_KEYS else ""
    if before not in (None, resolved.source.name):
        named.insert(0, f"the recipe is {before} there and {resolved.source.name} here")
    raise ConfigError(
        f"{folder} holds another run: {', '.join(named)}{more}; pass another --output, or the same settings: "
        f"--config {folder / CONFIG}."
    )


def _saved_form(resolved: Resolved) -> dict[str, Any]:
    """Return the settings as they come back from the file: of steps and epochs only the one that counts."""
    left_out = "train.epochs" if resolved.recipe.options.steps is not None else "train.steps"
    return {key: value for key, value in resolved.settings.items() if key != left_out}


def _was(settings: Mapping[str, Any], key: str) -> str:
    return shown(settings[key]) if key in settings else "not set"


def _must_be_free(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; --output is the folder of the run.")
    if folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(f"{folder} holds files, and no {CONFIG} of a run; pass another --output.")


def _changed_file(folder: Path, path: Path) -> str | None:
    try:
        same = (folder / RECIPE).read_text(encoding="utf-8") == path.read_text(encoding="utf-8")
    except OSError:
        return None
    return None if same else f"{path} was changed since the run in {folder} began; {folder / RECIPE} is what it was."


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be made: {error.strerror}.") from None


def _write(path: Path, text: str) -> None:
    """Write aside and rename: a reader sees all of it or nothing."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}.") from None


def _gpus() -> list[str]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]


def _commit(folder: Path) -> str | None:
    """Return the commit that a folder is at, with + where files were changed; None outside a repository."""
    git = shutil.which("git")
    if git is None:
        return None

    def ask(*words: str) -> str | None:
        try:
            done = subprocess.run(
                [git, "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=False
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    head = ask("rev-parse", "HEAD")
    return head and head + ("+" if ask("status", "--porcelain", "--untracked-files=no") else "")
