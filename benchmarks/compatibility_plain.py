"""Run a training script as it is, without trainworthy, and stop it after two optimizer steps: a control run.

    python benchmarks/compatibility_plain.py COUNTS.json SCRIPT [ARGS...]
    python benchmarks/compatibility_plain.py COUNTS.json -m MODULE [ARGS...]
    python benchmarks/compatibility_plain.py COUNTS.json NOTEBOOK.ipynb

``COUNTS.json`` gets how many optimizer steps and backward passes there were. The script sees what it
would see from ``python SCRIPT``; nothing of it is replaced, only counted. With ``--cuda-is-cpu`` before
COUNTS.json, "cuda" means the CPU: a control of scripts that go nowhere without a GPU. With
``--made-up-data``, torchvision takes files whose checksums are not those of the real data set.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import sys
from pathlib import Path
from typing import Any

STEPS = 2
BACKWARDS = 20  # of a script that updates its weights by hand


class Counts:
    """Counts steps and backward passes and ends the process when there were enough."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.steps: dict[int, int] = {}
        self.backwards = 0

    def stepped(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """Count a step; every optimizer that steps must have had enough of them."""
        self.steps[id(optimizer)] = self.steps.get(id(optimizer), 0) + 1
        self.write()
        if min(self.steps.values()) >= STEPS:
            self.leave()

    def went_back(self) -> None:
        """Count a backward pass."""
        self.backwards += 1
        self.write()
        if self.backwards >= BACKWARDS and not self.steps:
            self.leave()

    def write(self) -> None:
        """Write what was counted so far, if this is the process that counts."""
        self.path.write_text(json.dumps({"steps": sum(self.steps.values()), "backwards": self.backwards}))

    def leave(self) -> None:
        """End the process: the script trains."""
        sys.stdout.flush()
        os._exit(0)


def watch(counts: Counts) -> None:
    """Count in this process from now on."""
    import torch
    from torch.optim.optimizer import register_optimizer_step_post_hook

    register_optimizer_step_post_hook(counts.stepped)
    engine = torch.autograd.graph._engine_run_backward

    def run_backward(*args: Any, **kwargs: Any) -> Any:
        out = engine(*args, **kwargs)
        counts.went_back()
        return out

    torch.autograd.graph._engine_run_backward = run_backward
    torch.autograd._engine_run_backward = run_backward


def take_the_cpu_for_cuda() -> None:
    """Let ``.cuda()``, ``.to("cuda")`` and ``device="cuda"`` mean the CPU."""
    import torch
    from torch.overrides import TorchFunctionMode

    def on_cpu(value: Any) -> Any:
        if isinstance(value, torch.device) and value.type == "cuda":
            return torch.device("cpu")
        return "cpu" if isinstance(value, str) and re.fullmatch(r"cuda(:\d+)?", value) else value

    class OnCpu(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = {name: on_cpu(value) for name, value in (kwargs or {}).items()}
            return func(*[on_cpu(value) for value in args], **kwargs)

    def same(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self

    module_to = torch.nn.Module.to
    torch.nn.Module.to = lambda self, *a, **k: module_to(
        self, *map(on_cpu, a), **{name: on_cpu(value) for name, value in k.items()}
    )
    torch.Tensor.cuda = torch.nn.Module.cuda = same
    torch.cuda.is_available = lambda: True
    torch.cuda.device_count = lambda: 1
    torch.cuda.current_device = lambda: 0
    torch.cuda.get_device_name = lambda *a: "CPU"
    for name in ("set_device", "manual_seed", "manual_seed_all", "empty_cache", "synchronize", "init"):
        setattr(torch.cuda, name, lambda *a, **k: None)
    OnCpu().__enter__()


def take_made_up_data() -> None:
    """Let torchvision only ask whether a file is there."""
    import torchvision.datasets.cifar
    import torchvision.datasets.utils

    for module in (torchvision.datasets.utils, torchvision.datasets.cifar):
        module.check_integrity = lambda path, md5=None: Path(path).is_file()


def run_notebook(path: str) -> None:
    """Run the code cells of a notebook without the lines that only a notebook understands."""
    cells = json.loads(Path(path).read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {"__name__": "__main__", "display": print}
    for cell in cells:
        if cell["cell_type"] == "code":
            lines = [line for line in "".join(cell["source"]).splitlines() if not line.lstrip().startswith(("%", "!"))]
            exec(compile("\n".join(lines), path, "exec"), names)


def main() -> None:
    """Run what the command line names."""
    how = [word for word in sys.argv[1:3] if word in {"--cuda-is-cpu", "--made-up-data"}]
    counts, target, *rest = sys.argv[1 + len(how) :]
    watch(Counts(Path(counts).absolute()))
    if "--cuda-is-cpu" in how:
        take_the_cpu_for_cuda()
    if "--made-up-data" in how:
        take_made_up_data()
    if target == "-m":
        sys.argv = rest
        sys.path[0] = str(Path.cwd())
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif target.endswith(".ipynb"):
        sys.path[0] = str(Path(target).absolute().parent)
        run_notebook(target)
    else:
        sys.argv = [target, *rest]
        sys.path[0] = str(Path(target).absolute().parent)
        runpy.run_path(target, run_name="__main__")


if __name__ == "__main__":
    main()
