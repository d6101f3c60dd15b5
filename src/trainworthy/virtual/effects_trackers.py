"""Experiment trackers that are not installed become stand-ins that accept everything."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from trainworthy.virtual.effects_imports import when_imported

if TYPE_CHECKING:
    from importlib.abc import Loader

    from trainworthy.virtual.effects import Effects

TRACKERS = frozenset({
    "wandb", "tensorboard", "tensorboardX", "tensorboard_logger", "mlflow", "comet_ml", "neptune",
    "clearml", "swanlab", "aim", "visdom", "trackio", "dvclive", "codecarbon",
})  # fmt: skip
# torch's own door to a tracker; it raises ImportError when the tracker is absent.
_INNER = {"torch.utils.tensorboard": "tensorboard"}


class Nothing:
    """Accepts every call, attribute, item and ``with``; is empty, zero and false."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what was decorated, else nothing."""
        if len(args) == 1 and not kwargs and callable(args[0]) and not isinstance(args[0], Nothing):
            return args[0]  # used as a decorator
        return Nothing()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return Nothing()

    def __getitem__(self, key: Any) -> Any:
        return Nothing()

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def __enter__(self) -> Nothing:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return False

    def __float__(self) -> float:
        return 0.0

    def __int__(self) -> int:
        return 0

    def __str__(self) -> str:
        return "stand-in"

    def __fspath__(self) -> str:
        return "stand-in"


class _Run(Nothing):
    """What ``wandb.init`` returns: as ``Nothing``, but with the configuration it was given."""

    def __init__(self, *args: Any, config: Any = None, **kwargs: Any) -> None:
        super().__init__()
        self.config = _Config(config if isinstance(config, dict) else vars(config) if config else {})


class _Config(dict[str, Any]):
    """A dict whose items are attributes too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


class StandInModule(ModuleType):
    """A module in which every name exists."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        found: Any = type(name, (Nothing,), {}) if name[:1].isupper() else Nothing()
        setattr(self, name, found)
        return found


class _Finder:
    """The last finder: makes the packages that no other finder found."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        top = name.partition(".")[0]
        if top not in TRACKERS or (top in sys.modules and not isinstance(sys.modules[top], StandInModule)):
            return None
        return ModuleSpec(name, cast("Loader", self), is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Make a stand-in."""
        module = StandInModule(spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give wandb what scripts read back from it."""
        if module.__name__.partition(".")[0] in TRACKERS:
            self._effects.note("stub", module.__name__.partition(".")[0])
        if module.__name__ == "wandb":
            _fill_wandb(module)
        if module.__name__ == "torch.utils.tensorboard.summary":
            cast("Any", module).hparams = lambda *args, **kwargs: (
                Nothing(),
                Nothing(),
                Nothing(),
            )  # Lightning unpacks it


class _InnerFinder:
    """Stands in for ``torch.utils.tensorboard`` when tensorboard is not installed."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        needed = next((package for door, package in _INNER.items() if f"{name}.".startswith(f"{door}.")), None)
        if needed is None or _is_installed(needed):
            return None
        self._effects.note("stub", needed)
        return ModuleSpec(name, cast("Loader", _Finder(self._effects)), is_package=True)


def install_trackers(effects: Effects) -> None:
    """Stand in for trackers from here on."""
    sys.meta_path.insert(0, _InnerFinder(effects))
    sys.meta_path.append(_Finder(effects))
    for name in ("torch.utils.tensorboard.writer", "tensorboardX.writer"):
        when_imported(name, _draw_no_graph)


def _draw_no_graph(module: Any) -> None:
    """Leave out ``add_graph``: it traces the model, and a picture of it is not what a rehearsal is for."""
    if not isinstance(module, StandInModule):
        module.SummaryWriter.add_graph = lambda self, *args, **kwargs: None


def _is_installed(name: str) -> bool:
    for finder in sys.meta_path:
        is_ours = isinstance(finder, (_Finder, _InnerFinder)) or not hasattr(finder, "find_spec")
        if not is_ours and finder.find_spec(name, None) is not None:
            return True
    return False


def _fill_wandb(module: Any) -> None:
    module.config = _Config()
    module.run = None

    def init(*args: Any, **kwargs: Any) -> Any:
        module.run = _Run(*args, **kwargs)
        module.config = module.run.config
        return module.run

    module.init = init
