"""Know a PyTorch training run before you pay for it.

Importing this package imports no torch and has no side effect; every name is loaded when it is
first used.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from trainworthy._version import __version__

if TYPE_CHECKING:
    from trainworthy._api.estimate import estimate
    from trainworthy._api.explain import explain
    from trainworthy._api.guard import guard, lightning_guard, trainer_guard
    from trainworthy._api.inspect_model import inspect
    from trainworthy._api.probe import probe
    from trainworthy._api.record import load_tape, record
    from trainworthy._api.rehearse import rehearse
    from trainworthy._api.train import train
    from trainworthy.errors import TrainworthyError
    from trainworthy.hardware import gpu_row, gpu_rows
    from trainworthy.tape.record import Tape
    from trainworthy.virtual.script_step import Step

__all__ = [
    "Step",
    "Tape",
    "TrainworthyError",
    "__version__",
    "estimate",
    "explain",
    "gpu_row",
    "gpu_rows",
    "guard",
    "inspect",
    "lightning_guard",
    "load_tape",
    "probe",
    "record",
    "rehearse",
    "train",
    "trainer_guard",
]

_HOMES = {
    "Step": "trainworthy.virtual.script_step",
    "Tape": "trainworthy.tape.record",
    "TrainworthyError": "trainworthy.errors",
    "estimate": "trainworthy._api.estimate",
    "explain": "trainworthy._api.explain",
    "gpu_row": "trainworthy.hardware",
    "gpu_rows": "trainworthy.hardware",
    "guard": "trainworthy._api.guard",
    "inspect": "trainworthy._api.inspect_model",
    "lightning_guard": "trainworthy._api.guard",
    "load_tape": "trainworthy._api.record",
    "probe": "trainworthy._api.probe",
    "record": "trainworthy._api.record",
    "rehearse": "trainworthy._api.rehearse",
    "train": "trainworthy._api.train",
    "trainer_guard": "trainworthy._api.guard",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'trainworthy' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(home), name)


class _Package(ModuleType):
    """Keeps ``estimate``, ``inspect`` and so on the functions when the packages of those names are imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("estimate", "explain", "inspect", "train") and isinstance(value, ModuleType):
            return
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return sorted(__all__)
