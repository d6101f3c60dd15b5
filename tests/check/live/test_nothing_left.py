"""Once the look is over, every object of torch's, and everything that belongs to the program, is what it was before."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from torch import nn

from check.live.programs import PROGRAMS
from check.live.run import guarded, plainly
from trainworthy.check.live.guard import Guard

_HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks",
    "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks", "_optimizer_step_pre_hooks",
    "_optimizer_step_post_hooks", "_optimizer_state_dict_pre_hooks", "_optimizer_load_state_dict_pre_hooks",
    "_post_accumulate_grad_hooks",
)  # fmt: skip
# Programs whose own hooks stay, and one that makes torch load and patch parts of itself.
_WITHOUT = ("checkpoint and hooks", "much at once", "compiled")


def functions_of_torch() -> dict[str, Any]:
    """Return every function and method within torch's modules and classes, by name."""
    found: dict[str, Any] = {}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("torch", "safetensors", "random", "numpy") and module is not None:
            for key, value in list(vars(module).items()):
                if callable(value):
                    found[f"{name}.{key}"] = value
                if issubclass(type(value), type):  # asking a deprecated object for its class warns
                    found.update((f"{name}.{key}.{k}", v) for k, v in list(vars(value).items()) if not _is_data(v))
    return found


def _is_data(value: Any) -> bool:
    return not callable(value) and not isinstance(value, (property, classmethod, staticmethod))


def hooks() -> Iterator[tuple[str, int]]:
    """Yield how many hooks hang on what is alive, and on all modules and optimizers at once."""
    wide: Any = sys.modules["torch.nn.modules.module"]
    for name in [n for n in vars(wide) if n.startswith("_global_") and n.endswith("_hooks")]:
        yield name, len(getattr(wide, name))
    optimizers: Any = sys.modules["torch.optim.optimizer"]
    yield "optimizer pre", len(optimizers._global_optimizer_pre_hooks)
    yield "optimizer post", len(optimizers._global_optimizer_post_hooks)
    yield "modes", torch._C._len_torch_function_stack() + torch._C._len_torch_dispatch_stack()


def test_hook_lists_are_known() -> None:
    assert len(dict(hooks())) >= 10


# A look that its program outlives, and, of every third, one that outlives its program.
@pytest.mark.parametrize(
    ("name", "steps"), [(name, 3) for name in PROGRAMS] + [(name, 100) for name in [*PROGRAMS][::3]]
)
def test_torch_is_the_same_object_by_object(name: str, steps: int, tmp_path: Path) -> None:
    plainly(PROGRAMS[name], tmp_path / "plain.py")  # what torch imports late is there now
    before, hooked = functions_of_torch(), dict(hooks())
    guarded(PROGRAMS[name], tmp_path / "guarded.py", steps=steps)
    if name == "compiled":
        torch._dynamo.reset()
    after = functions_of_torch()
    assert [key for key in before if key in after and after[key] is not before[key]] == []
    assert dict(hooks()) == hooked


@pytest.mark.parametrize("name", [name for name in PROGRAMS if name not in _WITHOUT])
def test_nothing_hangs_on_the_program(name: str, tmp_path: Path) -> None:
    _, names = guarded(PROGRAMS[name], tmp_path / "program.py", steps=3)
    models = [value for value in names.values() if isinstance(value, nn.Module)]
    parts = [*(m for model in models for m in model.modules()),
             *(p for model in models for p in model.parameters()),
             *(value for value in names.values() if isinstance(value, torch.optim.Optimizer))]  # fmt: skip
    assert parts
    left = [(type(part).__name__, hook) for part in parts for hook in _HOOKS if getattr(part, hook, None)]
    assert left == []
    own = [
        (type(part).__name__, key) for part in parts for key, value in vars(part).items()
        if getattr(type(value), "__module__", "").startswith("trainworthy")
        or getattr(value, "__module__", "").startswith("trainworthy")
    ]  # fmt: skip
    assert own == []


def test_iterators_that_live_on_have_their_functions_back() -> None:
    def collate(samples: list[Any]) -> torch.Tensor:
        return torch.stack(samples)

    data: Any = torch.randn(64, 4)
    model = nn.Linear(4, 1)
    inner: Any = None
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step, batch in enumerate(torch.utils.data.DataLoader(data, batch_size=4, collate_fn=collate)):
        if step == 0:
            guard = Guard(steps=2)
        # The guard comes once the iterator is there, and sees another one begin and outlive it.
        if step == 1:
            guard.__enter__()
            inner = iter(torch.utils.data.DataLoader(data, batch_size=4, collate_fn=collate))
            batch = next(inner)  # noqa: PLW2901
        optimizer.zero_grad()
        model(batch).pow(2).mean().backward()
        optimizer.step()
    assert guard.facts.num_steps == 2
    assert inner._dataset_fetcher.collate_fn is collate


def test_the_guard_goes_with_its_last_reference() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    guard = Guard(model, optimizer, steps=3)
    with guard:
        for _ in range(5):
            loss = model(torch.randn(8, 4)).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    watch = weakref.ref(guard._watch)
    del guard, loss
    gc.collect()
    assert watch() is None


def calls_of(step: Callable[[], None]) -> list[tuple[str, str]]:
    """Return every call of a Python or C function that a step makes, in order."""
    found: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, what: Any) -> None:
        if event == "call":
            found.append((frame.f_code.co_filename, frame.f_code.co_qualname))
        elif event == "c_call":
            found.append((str(getattr(what, "__module__", "")), what.__qualname__))

    enabled = gc.isenabled()
    gc.disable()  # what it calls back has its own time
    sys.setprofile(note)
    try:
        step()
    finally:
        sys.setprofile(None)
        if enabled:
            gc.enable()
    return found


@pytest.mark.skipif(sys.version_info < (3, 11), reason="code objects have no qualified name")
def test_a_step_makes_the_same_calls_after_the_look_as_before() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1000)
    data: Any = torch.randn(400, 4)
    batches = iter(torch.utils.data.DataLoader(data, batch_size=4, shuffle=True))

    def step() -> None:
        loss = nn.functional.cross_entropy(model(next(batches)), torch.randint(3, (4,)))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()

    for _ in range(3):
        step()
    before = calls_of(step)
    with Guard(model, optimizer, steps=5) as guard:
        for _ in range(5):
            step()
    assert guard.facts.num_steps == 5
    assert calls_of(step) == before
    assert len(before) > 100
