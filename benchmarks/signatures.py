"""Write the table of names and arguments that the static checks read; needs torch and NumPy.

$ python benchmarks/signatures.py
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
from pathlib import Path

TABLE = Path(__file__).parents[1] / "src/trainworthy/check/static/signatures.json"
NAMES = ("torch", "torch.nn", "torch.nn.functional", "torch.functional", "torch.optim", "numpy")
CALLABLES = (
    "torch.nn", "torch.nn.functional", "torch.optim", "torch.optim.lr_scheduler", "torch.utils.data",
    "torch.nn.parallel", "torch.distributed", "torch.multiprocessing", "torch.nn.init", "torch.nn.utils",
)  # fmt: skip


def main() -> None:
    names = {name: sorted(set(dir(importlib.import_module(name)))) for name in NAMES}
    arguments = {}
    for library in CALLABLES:
        module = importlib.import_module(library)
        for name, member in vars(module).items():
            if not name.startswith("_") and callable(member):
                found = keywords(member)
                if found is not None:
                    arguments[f"{library}.{name}"] = found
    arguments["torch.nn.DataParallel"] = keywords(importlib.import_module("torch").nn.DataParallel)
    options = [
        "action", "nargs", "const", "default", "type", "choices", "required", "help", "metavar", "dest", "version",
        "deprecated",
    ]  # fmt: skip
    arguments["argparse.ArgumentParser.add_argument"] = options
    TABLE.write_text(
        json.dumps({"names": names, "arguments": arguments}, separators=(",", ":")) + "\n", encoding="utf-8"
    )


def keywords(member: object) -> list[str] | None:
    """Return the arguments of a callable; None if it takes any or cannot be asked."""
    try:
        parameters = inspect.signature(member).parameters.values()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    kinds = {one.kind for one in parameters}
    if inspect.Parameter.VAR_KEYWORD in kinds or (inspect.Parameter.VAR_POSITIONAL in kinds and len(parameters) == 1):
        return None
    return [one.name for one in parameters if one.kind is not inspect.Parameter.VAR_POSITIONAL]


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
