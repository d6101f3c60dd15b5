"""Data sets of ``torchvision`` and of Hugging Face ``datasets``, replaced by shapes.

If a package is installed, only what it would have to download is replaced. If it is not, a small
stand-in package takes its place for what scripts use around data sets; anything else that they ask
of it (a model of torchvision) is an error that names the package.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from torch.utils.data import Dataset

from trainworthy.virtual.effects_imports import when_imported

if TYPE_CHECKING:
    from importlib.abc import Loader

    from trainworthy.virtual.data import DataStandIns

_MODULES = frozenset({
    "torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.utils",
    "torchvision.transforms.functional", "torchvision.transforms.v2", "datasets",
})  # fmt: skip


def install_packages(makers: DataStandIns) -> None:
    """Replace ``datasets.load_dataset``, and both packages where they are not installed."""
    when_imported("datasets", lambda module: _patch_datasets(module, makers))
    sys.meta_path.append(_Finder(makers))


class _Finder:
    """Found last: stands in for packages that are not installed."""

    def __init__(self, makers: DataStandIns) -> None:
        self._makers = makers

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        top = sys.modules.get(name.partition(".")[0])
        if name not in _MODULES or (top is not None and not isinstance(top, _Package)):
            return None
        return ModuleSpec(name, cast("Loader", self), is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Make the stand-in."""
        return _Package(spec.name, self._makers)

    def exec_module(self, module: ModuleType) -> None:
        """Say that the package is a stand-in."""
        self._makers.note(f"package {module.__name__} (not installed)")
        if module.__name__ == "datasets":
            _patch_datasets(module, self._makers)


class _Package(ModuleType):
    """A package of which only what concerns data exists."""

    __version__ = "0.0"

    def __init__(self, name: str, makers: DataStandIns) -> None:
        super().__init__(name)
        self.__path__: list[str] = []
        self._makers = makers

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        full = f"{self.__name__}.{name}"
        if full in _MODULES:
            import importlib

            return importlib.import_module(full)
        if self.__name__ == "torchvision.datasets":
            return _missing_dataset(name, self._makers)
        if self.__name__.startswith(("torchvision.transforms", "torchvision.utils")):
            return _Transform if name[:1].isupper() else _same
        raise ModuleNotFoundError(
            f"No module named {self.__name__!r}; --data stands in for its data sets, not for {name!r}",
            name=self.__name__,
        )


class _Transform:
    """A transform that is not needed: the SPEC says what comes out at its end."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.transforms = args

    def __call__(self, sample: Any, *more: Any) -> Any:
        return sample if not more else (sample, *more)


def _same(value: Any = None, *args: Any, **kwargs: Any) -> Any:
    return value


def _missing_dataset(name: str, makers: DataStandIns) -> type:
    # Defined under the watch of data.py: its __init__ fails, and a stand-in takes its place.
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        self.transform = kwargs.get("transform")
        raise FileNotFoundError(f"torchvision is not installed, so {name} is not there")

    return type(name, (Dataset,), {"__init__": __init__, "__module__": "torchvision.datasets"})


def _patch_datasets(module: Any, makers: DataStandIns) -> None:
    def load_dataset(path: str, *args: Any, split: Any = None, streaming: bool = False, **kwargs: Any) -> Any:
        makers.note(f"datasets.load_dataset({path!r})")
        if split is not None:
            return Table(makers)
        return Splits({name: Table(makers) for name in ("train", "validation", "test")})

    module.load_dataset = module.load_from_disk = load_dataset


class Table(Dataset[Any]):
    """Stands in for ``datasets.Dataset``; samples are already what the SPEC says."""

    def __init__(self, makers: DataStandIns, length: int | None = None) -> None:
        assert makers.spec is not None
        self._makers = makers
        self._items = makers.spec.items
        self._length = makers.spec.samples if length is None else length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return [self._makers.sample(i)[key] for i in range(min(self._length, 100))]
        if isinstance(key, slice):
            return [self._makers.sample(i) for i in range(*key.indices(self._length))]
        if key >= self._length:
            raise IndexError(key)
        return self._makers.sample(int(key))

    def __iter__(self) -> Iterator[Any]:
        return (self._makers.sample(i) for i in range(self._length))

    @property
    def column_names(self) -> list[str]:
        """Names of the tensors of a sample."""
        return [str(item.name or i) for i, item in enumerate(self._items)]

    @property
    def features(self) -> dict[str, Any]:
        """Names of the tensors of a sample, with nothing known about them."""
        return dict.fromkeys(self.column_names)

    def select(self, indices: Any) -> Table:
        """Return as many samples as were asked for."""
        return Table(self._makers, len(list(indices)))

    def take(self, count: int) -> Table:
        """Return the first samples."""
        return Table(self._makers, min(count, self._length))

    def train_test_split(self, test_size: float = 0.25, **kwargs: Any) -> Splits:
        """Split into train and test."""
        test = int(test_size * self._length) if test_size < 1 else int(test_size)
        return Splits({"train": Table(self._makers, self._length - test), "test": Table(self._makers, test)})

    def __getattr__(self, name: str) -> Any:
        return _returns_itself(self, name)


class Splits(dict[str, Table]):
    """Stands in for ``datasets.DatasetDict``."""

    @property
    def column_names(self) -> dict[str, list[str]]:
        """Names of the tensors of a sample, by split."""
        return {name: table.column_names for name, table in self.items()}

    def __missing__(self, key: str) -> Table:
        return next(iter(self.values()))

    def __getattr__(self, name: str) -> Any:
        return _returns_itself(self, name)


def _returns_itself(value: Any, name: str) -> Callable[..., Any]:
    """``map``, ``shuffle``, ``with_format``, ...: the SPEC describes what comes out at the end."""
    known = "map filter shuffle with_format set_format rename_column rename_columns remove_columns flatten "
    known += "cast cast_column with_transform set_transform sort shard class_encode_column batch skip repeat"
    if name not in known.split():
        raise AttributeError(name)
    return lambda *args, **kwargs: value
