"""Rows of the user: files like those in ``gpus/``, in a folder of the user's, added with ``trainworthy gpus add``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from trainworthy.errors import HardwareRowError
from trainworthy.hardware.gpu import Gpu
from trainworthy.hardware.rows import built_in_rows, gpu_from_file, index_names, load_gpu


def user_folder() -> Path:
    """Return the folder of the user's rows; it need not exist.

    ``$TRAINWORTHY_CONFIG/gpus`` if that variable is set, else the folder that the system has for configuration.
    """
    chosen = os.environ.get("TRAINWORTHY_CONFIG")
    if chosen:
        return Path(chosen).expanduser() / "gpus"
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "trainworthy" / "gpus"


def user_rows() -> dict[str, Gpu]:
    """Read the user's rows, by id.

    Raises:
        HardwareRowError: If one is broken, or takes a name that another row has.
    """
    try:
        paths = sorted(user_folder().glob("*.toml"))
    except (OSError, RuntimeError):  # no permission, or no home
        return {}
    rows = {path.stem: load_gpu(path) for path in paths}
    if rows:
        index_names([*built_in_rows().values(), *rows.values()])
    return rows


def add_gpu(path: Path) -> tuple[Gpu, Path]:
    """Check a row and copy it into the user's folder as ``<id>.toml``; nothing is ever overwritten.

    Returns:
        The row, and where it is now.

    Raises:
        HardwareRowError: If the row is broken, contradicts itself, or takes a name that another row has.
    """
    gpu = gpu_from_file(path)
    taken = built_in_rows().get(gpu.id) or user_rows().get(gpu.id)
    if taken is not None:
        raise HardwareRowError(
            f"There is a row {gpu.id!r} already; rows are never overwritten.", where=str(path),
            fix="Give yours another id (family-form-memory), or remove the old file.",
        )  # fmt: skip
    index_names([*built_in_rows().values(), *user_rows().values(), gpu])
    goal = user_folder() / f"{gpu.id}.toml"
    try:
        goal.parent.mkdir(parents=True, exist_ok=True)
        with goal.open("xb") as file:  # fails if it has come into being since
            file.write(path.read_bytes())
    except OSError as error:
        raise HardwareRowError(f"Cannot be written: {error.strerror}.", where=str(goal)) from error
    return gpu, goal
