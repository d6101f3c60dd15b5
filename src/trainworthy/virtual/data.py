"""``--data SPEC``: shapes and dtypes stand in for data that is not on this machine.

A data set whose construction fails because files are missing becomes a stand-in that yields samples
of the given shapes; so do ``torchvision.datasets`` and ``datasets.load_dataset``. What is there is
used as it is. Without a SPEC, the error says how to give one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import Dataset, IterableDataset

from trainworthy.errors import UsageError
from trainworthy.virtual.data_packages import install_packages
from trainworthy.virtual.data_spec import IMAGE, DataSpec, Item, parse_spec

if TYPE_CHECKING:
    from trainworthy.virtual.effects import Effects

_KNOWN = {
    "MNIST": "float32[1,28,28], int64[]<10 *60000",
    "FashionMNIST": "float32[1,28,28], int64[]<10 *60000",
    "KMNIST": "float32[1,28,28], int64[]<10 *60000",
    "EMNIST": "float32[1,28,28], int64[]<47 *112800",
    "CIFAR10": "float32[3,32,32], int64[]<10 *50000",
    "CIFAR100": "float32[3,32,32], int64[]<100 *50000",
    "SVHN": "float32[3,32,32], int64[]<10 *73257",
    "STL10": "float32[3,96,96], int64[]<10 *5000",
    "ImageNet": "float32[3,224,224], int64[]<1000 *1281167",
    "ImageFolder": "float32[3,224,224], int64[]<1000",
    "CelebA": "float32[3,64,64], int64[40]<2 *162770",
}


class DataStandIns:
    """Makes samples of a specification; remembers in ``effects`` what was replaced."""

    def __init__(self, spec: DataSpec | None, effects: Effects) -> None:
        self.spec = spec
        self.constructing: set[int] = set()
        self._effects = effects
        self._generator = torch.Generator().manual_seed(0)

    def note(self, what: str) -> None:
        """Remember that a data set was replaced."""
        self._effects.note("data", what)

    def sample(self, index: int) -> Any:
        """Return one sample: a tensor, a tuple or a dict; the same for the same index."""
        assert self.spec is not None
        self._generator.manual_seed(index)
        values = [self._part(item, index) for item in self.spec.items]
        if self.spec.items[0].name:
            return {str(i.name): v for i, v in zip(self.spec.items, values, strict=True)}
        return values[0] if len(values) == 1 else tuple(values)

    def _part(self, item: Item, index: int) -> Any:
        """Return a tensor, a picture, or a label: a plain number, as data sets give it, with every class in turn."""
        if item.dtype == IMAGE:
            return picture(item, index)
        if item.dtype == "int64" and not item.shape:
            return index % max(item.below if item.below is not None else 2, 1)
        return self.tensor(item)

    def labels(self) -> list[int]:
        """Return the label of every sample; zeros if a sample has none."""
        assert self.spec is not None
        label = next((item for item in self.spec.items if item.dtype == "int64" and not item.shape), None)
        return [0 if label is None else self._part(label, index) for index in range(self.spec.samples)]

    def tensor(self, item: Item) -> torch.Tensor:
        """Return a tensor of ``item``."""
        dtype: torch.dtype = getattr(torch, item.dtype)
        if dtype.is_floating_point or dtype.is_complex:
            return torch.randn(item.shape, generator=self._generator, device="cpu").to(dtype)
        below = item.below if item.below is not None else 2
        drawn = torch.randint(0, max(below, 1), item.shape, generator=self._generator, device="cpu")
        return drawn.to(dtype)


def picture(item: Item, index: int) -> Any:
    """Return a picture of one colour, as data sets that hold image files give it to their transforms."""
    try:
        from PIL import Image  # type: ignore[import-not-found,unused-ignore] # only scripts need it
    except ModuleNotFoundError as error:
        raise UsageError(
            "Pictures need Pillow, which is not installed.", where="--data", fix="pip install pillow"
        ) from error
    channels, height, width = item.shape
    colour = (index * 37 % 256,) * channels
    return Image.new("L" if channels == 1 else "RGB", (width, height), colour if channels > 1 else colour[0])


def install(text: str | None, effects: Effects) -> None:
    """Let data that is missing be replaced (with a SPEC), or say how (without)."""
    makers = DataStandIns(parse_spec(text) if text else None, effects)
    _watch_datasets(makers)
    if makers.spec is not None:
        _write_files(makers, effects)
        if makers.spec.items:
            install_packages(makers)


def _watch_datasets(makers: DataStandIns) -> None:
    """Wrap ``__init__`` of every subclass of ``Dataset`` that is defined from here on."""
    base: Any = Dataset

    def __init_subclass__(cls: Any, /, **kwargs: Any) -> None:  # noqa: N807 - it becomes that method
        super(base, cls).__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            cls.__init__ = _guarded(cls.__init__, makers)

    base.__init_subclass__ = classmethod(__init_subclass__)


def _guarded(init: Any, makers: DataStandIns) -> Any:
    @functools.wraps(init)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> None:
        if id(self) in makers.constructing:  # a base class: let the whole construction fail
            init(self, *args, **kwargs)
            return
        makers.constructing.add(id(self))
        try:
            init(self, *args, **kwargs)
        except (OSError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "not found" not in str(error).lower():
                raise
            _replace_or_explain(self, error, makers)
        finally:
            makers.constructing.discard(id(self))

    return guarded


def _replace_or_explain(dataset: Any, error: Exception, makers: DataStandIns) -> None:
    name = type(dataset).__name__
    if makers.spec is None or not makers.spec.items:
        example = _KNOWN.get(name, "float32[3,224,224], int64[]<1000")
        error.trainworthy_fix = (  # type: ignore[attr-defined]
            f'{name} is not on this machine; let shapes stand in for its samples: --data "{example}".'
        )
        raise error
    makers.note(name)
    for attribute in ("transform", "target_transform", "transforms"):
        if not hasattr(dataset, attribute):
            setattr(dataset, attribute, None)
    dataset.__class__ = _stand_in_class(type(dataset), makers)


def _stand_in_class(cls: type, makers: DataStandIns) -> type:
    assert makers.spec is not None
    samples = makers.spec.samples

    def labels(self: Any) -> list[int]:
        return makers.labels()

    def iterate(self: Any) -> Iterator[Any]:
        return (_transformed(self, makers.sample(index)) for index in range(samples))

    def item(self: Any, index: Any) -> Any:
        if not -samples <= int(index) < samples:
            raise IndexError(index)
        return _transformed(self, makers.sample(int(index) % samples))

    body: dict[str, Any] = {"__doc__": cls.__doc__, "__module__": cls.__module__}
    if issubclass(cls, IterableDataset):
        body["__iter__"] = iterate
    else:
        body.update(__getitem__=item, __len__=lambda self: samples, __iter__=iterate)
        body.update(targets=property(labels), labels=property(labels))
        body["classes"] = [str(i) for i in range(_classes(makers.spec))]
        body["__getitems__"] = lambda self, indices: [item(self, i) for i in indices]
    return type(cls.__name__, (cls,), body)


def _transformed(dataset: Any, sample: Any) -> Any:
    """Let the data set's own transform work on pictures; tensors are what comes out of it."""
    transform = getattr(dataset, "transform", None)
    if not callable(transform):
        return sample
    if isinstance(sample, tuple):
        return tuple(transform(part) if _is_picture(part) else part for part in sample)
    if isinstance(sample, dict):
        return {name: transform(part) if _is_picture(part) else part for name, part in sample.items()}
    return transform(sample) if _is_picture(sample) else sample


def _is_picture(value: Any) -> bool:
    return type(value).__module__ == "PIL.Image"


def _classes(spec: DataSpec) -> int:
    return next((item.below for item in spec.items if item.below and not item.shape), 10)


# --- single files -------------------------------------------------------------------------------


def _write_files(makers: DataStandIns, effects: Effects) -> None:
    """Write each ``PATH=...`` into the layer of scratch files, where the script will find it."""
    assert makers.spec is not None
    for item in makers.spec.files:
        assert item.name is not None
        path = effects.overlay.make_file(item.name)
        tensor = makers.tensor(item)
        if path.endswith((".pt", ".pth")):
            torch.save(tensor, path)
        elif path.endswith(".npy"):
            import numpy as np

            np.save(path, tensor.numpy())
        else:
            with open(path, "wb") as file:  # noqa: PTH123
                file.write(_raw_bytes(tensor))
        effects.note("data", f"{item.name} ({item.dtype}, {math.prod(item.shape):,} elements)")


def _raw_bytes(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().view(torch.uint8).numpy().tobytes()
