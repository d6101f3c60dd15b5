"""List the modules of a model: shapes, parameters, FLOPs; nothing is computed.

$ trainworthy inspect package.module:model --input-size 1,3,224,224
$ trainworthy inspect models.py:ResNet --input-size 8,3,32,32 --columns output_size,num_params,trainable

The name after the colon is a module, or something that returns one when called without arguments.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainworthy.cli.options import emit
from trainworthy.errors import UsageError


def run(parser: argparse.ArgumentParser, words: Sequence[str]) -> int:
    """Build the model on virtual memory and print its table."""
    from trainworthy._api.inspect_model import DEFAULT_COLUMNS

    add = parser.add_argument
    add("model", metavar="MODULE:NAME", help="package.module:name or file.py:name")
    add("--input-size", action="append", required=True, metavar="N,N,...", help="sizes with the batch; once an input")
    add("--dtype", action="append", metavar="DTYPE", help="dtype of each input (default: float32)")
    add("--depth", type=int, default=3, metavar="N", help="levels of modules to show (default: 3)")
    add("--columns", default=",".join(DEFAULT_COLUMNS), metavar="NAME,...", help="columns, named as in torchinfo")
    add("--mode", choices=("same", "train", "eval"), default="same")
    add("--format", choices=("text", "json"), default="text")
    add("--output", metavar="PATH", help="write there instead of printing")
    options = parser.parse_args(words)
    import trainworthy
    from trainworthy._api.need_torch import need_torch

    need_torch("inspect")
    import torch

    table = trainworthy.inspect(
        build_model(options.model),
        input_size=[_size(text) for text in options.input_size],
        dtypes=[_dtype(torch, name) for name in options.dtype] if options.dtype else None,
        depth=options.depth, col_names=options.columns.split(","), mode=options.mode,
    )  # fmt: skip
    emit(json.dumps(table.to_dict(), indent=2) if options.format == "json" else str(table), options.output)
    return 0


def build_model(target: str) -> Any:
    """Import ``target`` and return the module it names, built without memory.

    Raises:
        UsageError: If there is no such thing, or it is no module.
    """
    where, colon, name = target.rpartition(":")
    if not colon or not name:
        raise UsageError(f"{target!r} does not name a model.", fix="Write package.module:name or file.py:name.")
    import torch

    from trainworthy.virtual.gpu import VirtualGpu

    with VirtualGpu():
        found = _import(where)
        for part in name.split("."):
            if not hasattr(found, part):
                raise UsageError(f"{where} has no {name!r}.", where=target)
            found = getattr(found, part)
        if not isinstance(found, torch.nn.Module) and callable(found):
            found = found()
    if not isinstance(found, torch.nn.Module):
        raise UsageError(f"{target!r} is {type(found).__name__}, not a torch.nn.Module.", where=target)
    return found


def _import(where: str) -> Any:
    path = Path(where)
    if where.endswith(".py"):
        if not path.is_file():
            raise UsageError(f"There is no file {where!r}.")
        sys.path.insert(0, str(path.absolute().parent))
        where = path.stem
    else:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        raise UsageError(f"{error}.", where=where, fix="Run from the folder that holds it, or install it.") from error


def _size(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(n) for n in text.replace("x", ",").split(",") if n.strip())
    except ValueError as error:
        raise UsageError(f"{text!r} is not a size.", where="--input-size", fix="Write 1,3,224,224.") from error


def _dtype(torch: Any, name: str) -> Any:
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise UsageError(f"{name!r} is not a dtype.", where="--dtype", fix="Write int64, float32, bfloat16, ...")
    return dtype
