"""Read ``--data SPEC``; nothing here needs torch.

::

    float32[3,224,224], int64[]<1000          a sample is a tuple of an image and a label below 1000
    image[3,500,375], int64[]<1000            a picture (Pillow) that the data set's own transform works on
    input_ids: int64[512]<50257, labels: ...  a sample is a dict
    float32[1,28,28], int64[]<10 *60000       there are 60000 samples (default: 10000)
    data/train.bin=uint16[1000000]<50257      a file: .bin and .dat raw, .npy, .pt
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from trainworthy.errors import UsageError

DEFAULT_SAMPLES = 10_000
IMAGE = "image"
_ITEM = re.compile(
    r"\s*(?:(?P<name>[\w.\- /]+?)\s*(?P<mark>[:=])\s*)?(?P<dtype>[a-z]+\d*)\s*"
    r"\[(?P<shape>[\d,\s]*)\]\s*(?:<\s*(?P<below>\d+))?\s*"
)
_DTYPES = frozenset({
    "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "uint16", "uint32",
    "bool", "complex64", "complex128", "image",
})  # fmt: skip
_ALIASES = {"float": "float32", "double": "float64", "half": "float16", "long": "int64", "int": "int32"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One tensor of a sample; ``below`` bounds integers from above."""

    dtype: str
    shape: tuple[int, ...]
    below: int | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSpec:
    """What a sample is, how many there are, and files by path."""

    items: tuple[Item, ...]
    samples: int = DEFAULT_SAMPLES
    files: tuple[Item, ...] = ()


def parse_spec(text: str) -> DataSpec:
    """Read a specification.

    >>> parse_spec("float32[3,8,8], int64[]<10 *50").samples
    50

    Raises:
        UsageError: If the text does not follow the grammar; the message shows where and an example.
    """
    body, _, samples = text.rpartition("*") if re.search(r"\*\s*\d+\s*$", text) else (text, "", "")
    items: list[Item] = []
    files: list[Item] = []
    for part in re.split(r",(?![^\[]*\])", body):
        match = _ITEM.fullmatch(part)
        if match is None:
            raise _wrong(text, part)
        item = _item(match, text)
        (files if match["mark"] == "=" else items).append(item)
    if any(item.name for item in items) and not all(item.name for item in items):
        raise UsageError("Either every tensor of a sample has a name, or none.", where=f"--data {text!r}")
    return DataSpec(items=tuple(items), samples=int(samples) if samples else DEFAULT_SAMPLES, files=tuple(files))


def _item(match: re.Match[str], text: str) -> Item:
    dtype = _ALIASES.get(match["dtype"], match["dtype"])
    if dtype not in _DTYPES:
        raise UsageError(
            f"{match['dtype']!r} is not a dtype.", where=f"--data {text!r}", fix=f"One of {', '.join(sorted(_DTYPES))}."
        )
    shape = tuple(int(size) for size in match["shape"].split(",") if size.strip())
    if dtype == IMAGE and (len(shape) != 3 or shape[0] not in {1, 3} or match["mark"] == "="):
        raise UsageError(
            f"{match[0].strip()!r} is not a picture.", where=f"--data {text!r}",
            fix="Write image[channels,height,width] with 1 or 3 channels, such as image[3,500,375]; not for a file.",
        )  # fmt: skip
    below = int(match["below"]) if match["below"] else None
    return Item(dtype=dtype, shape=shape, below=below, name=match["name"])


def _wrong(text: str, part: str) -> UsageError:
    return UsageError(
        f"{part.strip()!r} is not a tensor specification.",
        where=f"--data {text!r}",
        fix='Write dtype[sizes], such as "float32[3,224,224], int64[]<1000", "input_ids: int64[512]<50257" '
        'or, for a file, "data/train.bin=uint16[1000000]<50257".',
    )
