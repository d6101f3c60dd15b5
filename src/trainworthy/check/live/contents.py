"""What a data set holds: its parts, by name, as bytes and numbers that can be compared."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Any

import torch

_MAX_BYTES = 128 * 1024**2
_MAX_OBJECTS = 200_000

Content = tuple[tuple[str, Any], ...]


def first_difference(before: Content, after: Content, *, of_data: bool = False) -> str:
    """Name the first part that differs in value, or is gone; "" if none does. What is new is no change.

    ``of_data`` looks at arrays and tensors of several numbers only.
    """
    later = dict(after)
    found = (path for path, value in before if value != later.get(path) and (not of_data or _is_data(value)))
    return next((path or "the sample" for path in found), "")


def stored_by(dataset: Any) -> Content:
    """Return what a data set holds: of a wrapper, what is in the data sets that it wraps."""
    return content(vars(dataset))


def content(value: Any) -> Content:
    """Return the parts of a value, with their bytes or numbers; lists also with how long they are."""
    return tuple((path, _read(part)) for path, part, _ in _leaves(value, "", ()))


def ways_to(dataset: Any, path: str) -> list[Any]:
    """Return the objects in which a part of a data set stands, outermost first: lists, dictionaries, and the part."""
    found = (around for at, _, around in _leaves(vars(dataset), "", ()) if at == path)
    return list(next(found, ()))


def face(value: Any) -> Any:
    """Return what can be compared to say whether an object was changed itself, whatever it holds."""
    if _is_whole(value):
        return _read(value)
    return [(name, _read(each) if _is_plain(each) else id(each)) for name, each in _parts(value)]


def _leaves(value: Any, path: str, around: tuple[Any, ...]) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Yield the parts of a value that have none themselves: name, part, and what they stand in, with what they are."""
    if len(around) > 12 or any(value is one for one in around):
        return
    if _is_plain(value):
        yield path, value, around
    elif _is_whole(value):
        yield path, value, (*around, value)
    else:
        inner = (*around, value)
        for name, each in _parts(value):
            yield from _leaves(each, f"{path}{name}", inner)


def _is_whole(value: Any) -> bool:
    return isinstance(value, torch.Tensor) or _is_array(value) or _is_image(value)


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, bytes, int, float, bool)) or value is None


def _read(part: Any) -> Any:
    if isinstance(part, torch.Tensor):
        flat = part.detach().cpu().contiguous().reshape(-1)
        return tuple(part.shape), flat.view(torch.uint8).numpy().tobytes()
    if _is_array(part):
        return part.shape, part.tobytes()
    return (part.tobytes(),) if _is_image(part) else (part,)


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, (list, tuple)):
        yield "(length)", len(value)
        for i, each in enumerate(value):
            yield f"[{i}]", each
    elif isinstance(value, dict):
        for key, each in list(value.items()):
            yield f"[{key!r}]" if not isinstance(key, str) else f".{key}", each
    elif hasattr(value, "__dict__") and not isinstance(value, type) and not callable(value):
        yield from ((f".{name}", each) for name, each in vars(value).items())


def _is_array(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray) and value.dtype != object


def _is_image(value: Any) -> bool:
    image = sys.modules.get("PIL.Image")
    return image is not None and isinstance(value, image.Image)


def is_small(dataset: Any) -> bool:
    """Say whether what a data set stores can be compared with itself quickly: by bytes and objects."""
    size, count = 0, 0
    left, seen = [dataset], set()
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        count += 1
        if isinstance(one, torch.Tensor):
            size += one.numel() * one.element_size()
        elif _is_array(one):
            size += one.nbytes
        elif isinstance(one, (str, bytes)):
            size += len(one)
        elif _is_image(one):  # which may not have been read from its file yet, and shall not be here
            size += 4 * one.width * one.height
        elif not isinstance(one, (int, float, type)):
            left += [each for _, each in _parts(one)]
        if size > _MAX_BYTES or count > _MAX_OBJECTS:
            return False
    return hasattr(dataset, "__dict__")


def _is_data(part: tuple[Any, ...]) -> bool:
    """Say whether a part is an array or tensor of several numbers."""
    return len(part) == 2 and isinstance(part[1], bytes) and math.prod(part[0]) > 1
