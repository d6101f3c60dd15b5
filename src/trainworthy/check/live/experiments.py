"""Experiments with a step function that may be run as often as one likes: each begins and ends at the same state.

What one finds becomes a fact for the live rules. Where an experiment cannot be sure (a step that is not repeatable, a
model with BatchNorm where parts of a batch are to equal the whole) it finds nothing.
"""

from __future__ import annotations

import contextlib
import copy
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from trainworthy.check.dry.equal_sizes import Again, of_moves
from trainworthy.check.finding import Place
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.facts_steps import Probe
from trainworthy.check.live.loaders import tensors_in
from trainworthy.check.live.masks import mask_fails, masked_call
from trainworthy.check.live.outputs import difference, outputs
from trainworthy.check.live.trial import RootCall, Runner, Trial
from trainworthy.check.live.undo import Snapshot, put_random
from trainworthy.virtual.nested import tensors_of, with_tensors

Step = Callable[..., Any]
_NOT_REPEATABLE = "two runs from one state are not equal"
_TOLERANCE = 1e-3  # relative, of whole gradients in float32


class Experiments:
    """The experiments on one step and one batch; facts go where the guard's go."""

    def __init__(self, runner: Runner, facts: LiveFacts, start: Snapshot, step: Step, batch: tuple[Any, ...]) -> None:
        self.runner = runner
        self.facts = facts
        self.start = start
        self.step = step
        self.batch = batch

    def again(self, function: Step | None = None, *args: Any) -> Trial:
        """Run the step from the beginning state."""
        self.runner.kept.back_to(self.start)
        return self.runner.run(function or self.step, *(args or copy.deepcopy(self.batch)))

    def _found(self, what: Any, place: Place | None, model: str, **measured: Any) -> None:
        self.facts.probes.append(Probe(what=what, place=place or self.facts.home, model=model, **measured))

    # --- the model in evaluation ------------------------------------------------------------------------

    def of_model(self, call: RootCall, *, causal: bool, batch_dim: int) -> str | None:
        """Run the model of a call in evaluation mode: are samples mixed, does the future leak, is a mask inverted?"""
        self.runner.kept.back_to(self.start)
        args, kwargs = copy.deepcopy((call.args, call.kwargs))
        given = [t for t in tensors_in([*args, *kwargs.values()]) if t.dim() and not t.requires_grad]
        model, name = call.model, type(call.model).__name__

        def forward() -> Any:
            with torch.no_grad():
                return model(*args, **kwargs)

        model.eval()
        try:
            first, second = outputs(forward()), outputs(forward())
            if len(first) != len(second) or any(not torch.equal(a, b) for a, b in zip(first, second, strict=True)):
                return "the model is random in evaluation mode"
            for found in _mixed(first, given, batch_dim, lambda: outputs(forward())):
                self._found("samples-mixed", call.place, name, **found)
            if causal:
                for found in _leaked(first, given, batch_dim, lambda: outputs(forward())):
                    self._found("future-leak", call.place, name, **found)
            masked = masked_call(model, args, kwargs)
            for found in mask_fails(masked, forward) if masked is not None else ():
                what = found.pop("what")
                self._found(what, call.place, name, names=(masked.name if masked else "",), **found)
        finally:
            self.runner.kept.back_to(self.start)
        return None

    # --- the loss -------------------------------------------------------------------------------------

    def of_padding(self, call: RootCall, padding: int | None) -> str | None:
        """Change what the model says where there is only padding around: the loss must not move."""
        ids = next((t for t in tensors_in([*call.args, *call.kwargs.values()]) if _is_tokens(t)), None)
        padding = _padding_of(call.model) if padding is None else padding
        if ids is None or padding is None:
            return "no token ids, or no token that is known to be padding"
        inner = _inner(ids == padding)
        if not bool(inner.any()):
            return f"no padding ({padding}) with padding on both sides"
        plain, same = self.again(), self.again()
        if not plain.losses or plain.losses != same.losses:
            return _NOT_REPEATABLE

        def changed(root: RootCall, out: Any) -> Any:
            if root.model is not call.model:
                return out

            def other(tensor: torch.Tensor) -> torch.Tensor:
                if tensor.dim() < 2 or tensor.shape[:2] != inner.shape or not tensor.is_floating_point():
                    return tensor
                noise = torch.linspace(-1.0, 1.0, tensor.shape[-1], device=tensor.device, dtype=tensor.dtype)
                where = inner.to(tensor.device).reshape(*inner.shape, *(1,) * (tensor.dim() - 2))
                return torch.where(where, tensor + noise * (1 + tensor.detach().abs().max()), tensor)

            return _with_outputs(out, other)

        self.runner.alter = changed
        try:
            moved = self.again()
        finally:
            self.runner.alter = None
        change = abs(moved.losses[0] - plain.losses[0]) if moved.losses else 0.0
        if change > 1e-4 * max(abs(plain.losses[0]), 1e-6):
            share = float(inner.float().mean())
            self._found(
                "padding-in-loss", plain.place, type(call.model).__name__, change=change, scale=plain.losses[0],
                names=(str(padding),), ratio=share,
            )  # fmt: skip
        return None

    # --- parts of a batch -----------------------------------------------------------------------------

    def of_accumulation(self, accumulate: Step, batch_dim: int) -> str | None:
        """Let the gradient be accumulated over one part and over two: it must be the same."""
        size = _batch_size(self.batch, batch_dim)
        models = list(self.runner.kept.models.values())
        if size is None or size % 2:
            return f"a batch of {size} has no equal halves"
        if any(isinstance(m, _BatchNorm) for one in models for m in one.modules()):
            return "BatchNorm makes the parts of a batch differ from the whole"
        halves = [_part(self.batch, batch_dim, size, at, size // 2) for at in (0, size // 2)]
        with _without_dropout(models):
            whole = self.again(accumulate, [self._one()])
            with _other_random_numbers(self.start):
                same = self.again(accumulate, [self._one()])
            parts = self.again(accumulate, [h[0] if len(h) == 1 else h for h in halves])
        if not whole.gradients or _distance(whole, same)[0] > _TOLERANCE:
            return "the gradient depends on random numbers"
        distance, ratio, norm = _distance(whole, parts)
        if distance > _TOLERANCE:
            self._found(
                "accumulation", parts.place, type(models[0]).__name__, change=distance * norm, scale=norm, ratio=ratio
            )
        return None

    def _one(self) -> Any:
        batch = copy.deepcopy(self.batch)
        return batch[0] if len(batch) == 1 else batch

    # --- checkpoints ----------------------------------------------------------------------------------

    def of_resume(self, save: Callable[[str], Any] | None, load: Callable[[str], Any] | None) -> str | None:
        """Take a step, save, take another; then begin anew, load and take the other again: all must be equal."""
        kept = self.runner.kept
        if not kept.optimizers:
            return "the step moves no optimizer"
        self.again()
        middle = kept.now()
        with tempfile.TemporaryDirectory(prefix="trainworthy-") as folder:
            path = str(Path(folder) / "checkpoint.pt")
            (save or self._save)(path)
            one = self._one_more(middle)
            if _differing(one, self._one_more(middle)):
                return _NOT_REPEATABLE
            kept.back_to(self.start)
            (load or self._load)(path)
            loaded = kept.now()
            put_random(middle.random)
            self.runner.run(self.step, *copy.deepcopy(self.batch))
            other = kept.now()
        wrong = _differing(one, other)
        if wrong:
            missing = _differing(middle, loaded) or wrong
            self._found(
                "resume", None, next(iter(kept.models), ""), change=float(len(wrong)), names=tuple(missing),
                scale=float(len(one.tensors)),
            )  # fmt: skip
        return None

    def _one_more(self, middle: Snapshot) -> Snapshot:
        self.runner.kept.back_to(middle)
        self.runner.run(self.step, *copy.deepcopy(self.batch))
        return self.runner.kept.now()

    def _save(self, path: str) -> None:
        torch.save({name: one.state_dict() for name, one in self._stateful().items()}, path)

    def _load(self, path: str) -> None:
        saved = torch.load(path, weights_only=False)  # written a moment ago, by ourselves
        for name, one in self._stateful().items():
            one.load_state_dict(saved[name])

    def _stateful(self) -> dict[str, Any]:
        kept = self.runner.kept
        return {**kept.models, **kept.optimizers, **kept.others}

    # --- sizes ----------------------------------------------------------------------------------------

    def of_sizes(self, describe: Callable[[Exception], dict[str, Any]]) -> None:
        """Cut one of two equal sizes of the batch: the step must not need them to be equal."""
        tensors = list(tensors_of(self.batch))
        moves = [{"line": str(k), "shape": list(t.shape), "steps": [1, 2]} for k, t in enumerate(tensors) if t.dim()]
        taken = {n for t in tensors for n in t.shape}
        taken |= {n for m in self.runner.kept.models.values() for p in m.parameters() for n in p.shape}

        def again(resize: dict[str, Any]) -> Again:
            count = -1

            def cut(tensor: torch.Tensor) -> torch.Tensor:
                nonlocal count
                count += 1
                for line, shape, dim, size in resize["moved"]:
                    if line == str(count) and list(tensor.shape) == list(shape):
                        tensor = tensor.narrow(dim, 0, size)
                return tensor

            try:
                self.again(None, *with_tensors(copy.deepcopy(self.batch), cut))
            except Exception as error:  # what the step raises is the answer
                return Again(describe(error), {})
            return Again(None, {})

        self.facts.equal_sizes.extend(of_moves(moves, taken, again))


# --- pieces ---------------------------------------------------------------------------------------------


def _mixed(
    before: list[torch.Tensor], given: list[torch.Tensor], dim: int, forward: Callable[[], list[torch.Tensor]]
) -> Iterator[dict[str, Any]]:
    """Replace sample 0 by sample 1 in all that is given; yield outputs of other samples that moved."""
    size = given[0].shape[dim] if given and given[0].dim() > dim else 0
    samples = [t for t in given if t.dim() > dim and t.shape[dim] == size]
    if size < 3 or all(torch.equal(t.select(dim, 0), t.select(dim, 1)) for t in samples):
        return
    saved = [t.select(dim, 0).clone() for t in samples]
    for tensor in samples:
        tensor.select(dim, 0).copy_(tensor.select(dim, 1))
    after = forward()
    for tensor, sample in zip(samples, saved, strict=True):
        tensor.select(dim, 0).copy_(sample)
    for old, new in zip(before, after, strict=True):
        if old.dim() > dim and old.shape == new.shape and list(old.shape).count(size) == 1 and old.shape[dim] == size:
            others = range(1, size)
            rest = torch.tensor(list(others), device=old.device)
            yield from difference(old.index_select(dim, rest), new.index_select(dim, rest), old)


def _leaked(
    before: list[torch.Tensor], given: list[torch.Tensor], batch_dim: int, forward: Callable[[], list[torch.Tensor]]
) -> Iterator[dict[str, Any]]:
    """Change the last position of the first sequence given; yield outputs of earlier positions that moved."""
    time = 1 - batch_dim if batch_dim in (0, 1) else 1
    given = [t for t in given if t.dim() >= 2 and t.shape[time] >= 4]
    if not given:
        return
    sequence = given[0]
    last = sequence.select(time, -1)
    kept, first = last.clone(), sequence.select(time, 0)
    last.copy_(
        last + 1.0 if sequence.is_floating_point() else torch.where(last == first, sequence.select(time, 1), first)
    )
    changed = not torch.equal(last, kept)
    after = forward() if changed else []
    last.copy_(kept)
    for old, new in zip(before, after, strict=False):
        if old.dim() >= 2 and old.shape[:2] == sequence.shape[:2] and old.shape == new.shape:
            length = old.shape[time] - 1
            yield from difference(old.narrow(time, 0, length), new.narrow(time, 0, length), old)
            return


def _is_tokens(tensor: torch.Tensor) -> bool:
    return tensor.dim() == 2 and tensor.dtype in (torch.int64, torch.int32) and tensor.shape[1] >= 3


def _padding_of(model: nn.Module) -> int | None:
    found = {m.padding_idx for m in model.modules() if isinstance(m, nn.Embedding) and m.padding_idx is not None}
    return found.pop() if len(found) == 1 else None


def _inner(padding: torch.Tensor) -> torch.Tensor:
    """Leave out padding beside text: what is said there may be the prediction of a token."""
    inner = padding.clone()
    inner[:, 1:] &= padding[:, :-1]
    inner[:, :-1] &= padding[:, 1:]
    return inner


def _with_outputs(value: Any, replace: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    if hasattr(value, "keys") and not isinstance(value, dict):  # what Hugging Face's models return
        for key in list(value.keys()):
            if isinstance(value[key], torch.Tensor):
                value[key] = replace(value[key])
        return value
    return with_tensors(value, replace)


def _batch_size(batch: Any, dim: int) -> int | None:
    return next((t.shape[dim] for t in tensors_of(batch) if t.dim() > dim), None)


def _part(batch: Any, dim: int, size: int, start: int, length: int) -> Any:
    def part(tensor: torch.Tensor) -> torch.Tensor:
        is_whole = tensor.dim() > dim and tensor.shape[dim] == size
        return tensor.narrow(dim, start, length).clone() if is_whole else tensor.clone()

    return with_tensors(batch, part)


@contextlib.contextmanager
def _without_dropout(models: list[nn.Module]) -> Iterator[None]:
    """Let layers drop nothing: dropout layers, and those that drop on their own."""
    saved = []
    for module in (m for model in models for m in model.modules()):
        name = "p" if isinstance(module, _DropoutNd) else "dropout"
        if isinstance(module, (_DropoutNd, nn.MultiheadAttention, nn.RNNBase)):
            saved.append((module, name, getattr(module, name)))
            setattr(module, name, 0.0)
    try:
        yield
    finally:
        for module, name, p in saved:
            setattr(module, name, p)


@contextlib.contextmanager
def _other_random_numbers(start: Snapshot) -> Iterator[None]:
    """Let runs from ``start`` draw other random numbers of torch."""
    before = start.random["torch"]
    start.random["torch"] = torch.Generator().manual_seed(20_240_229).get_state()
    try:
        yield
    finally:
        start.random["torch"] = before


def _distance(one: Trial, two: Trial) -> tuple[float, float, float]:
    """Return how far two gradients are apart (relative), how many times as long the second is, and the first's norm."""
    shared = [k for k in one.gradients if k in two.gradients]
    if not shared:
        return 0.0, 1.0, 0.0
    a = torch.cat([one.gradients[k].double().reshape(-1) for k in shared])
    b = torch.cat([two.gradients[k].double().reshape(-1) for k in shared])
    norm = float(a.norm())
    if not norm:
        return 0.0, 1.0, 0.0
    return float((a - b).norm()) / norm, float(a @ b) / norm**2, norm


def _differing(one: Snapshot, two: Snapshot) -> list[str]:
    """Name the tensors, numbers and states that are not equal to the last bit."""
    names = [n for n, t in one.tensors.items() if n not in two.tensors or not _equal(t, two.tensors[n])]
    names += [n for n, v in one.values.items() if not _equal(v, two.values.get(n))]
    return names


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_equal(v, b[k]) for k, v in a.items())
    if isinstance(a, (list, tuple)):
        return isinstance(b, (list, tuple)) and len(a) == len(b) and all(map(_equal, a, b))
    return bool(a == b)
