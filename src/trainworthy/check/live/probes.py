"""Extra forward passes, of copies of the modules that a step calls: do samples mix, does the future leak?

The user's model, its buffers, the random number generators and the inputs stay as they are: the copy is made after a
step, runs in evaluation mode without gradients, and is thrown away. Where that cannot be sure (hooks of the user,
models that cannot be copied, random outputs, too little memory) nothing is done and nothing is said.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from trainworthy.check.live.alone import alone
from trainworthy.check.live.attention import AttentionWatch
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.facts_steps import Probe
from trainworthy.check.live.limits import in_time, limit_s
from trainworthy.check.live.loaders import tensors_in
from trainworthy.check.live.masks import mask_fails, masked_call, padding_shows
from trainworthy.check.live.models import Call
from trainworthy.check.live.names import unwrap
from trainworthy.check.live.outputs import difference, outputs
from trainworthy.check.live.spreading import first_spread
from trainworthy.check.live.twins import copy_of, copy_of_arguments, may_be_copied, undisturbed
from trainworthy.check.live.views import ViewWatch
from trainworthy.check.live.watch import Watch, plain
from trainworthy.virtual.nested import with_tensors


def run_probes(watch: Watch, calls: list[Call]) -> None:
    """Probe the modules that a step calls, with the arguments of their first call in training."""
    every = (_run_in_another_order, _run_masked, _run_alone)
    with watch.own_work(), undisturbed():
        for number, call in enumerate(calls):
            name = f"probes of {type(unwrap(call.model)).__name__}" if number else "probes"
            for look in every if number else (_run, *every):  # a model that cannot be copied is left out once
                watch.attempt(name, in_time, limit_s(call.began_s), look, watch, call)


def _run_alone(watch: Watch, call: Call) -> None:
    """Run a copy of its own, with the batch and with one sample: a model may keep what it was given last."""
    model, tensors = unwrap(call.model), _given(call)
    if not tensors:
        return
    twin = copy_of(model).eval()
    args, kwargs = copy_of_arguments(call.args, call.kwargs)
    size, _ = _batch_size(watch.facts, call, tensors[0])
    with ViewWatch(watch, list(tensors_in([args, kwargs]))), AttentionWatch(twin, watch.place) as attention:
        if size is not None and size > 1 and any(t.dim() and t.shape[0] == size for t in tensors):
            name = type(model).__name__
            watch.facts.alone.extend(alone(twin, args, kwargs, size=size, place=watch.place, name=name))
        else:
            twin(*args, **kwargs)
    watch.facts.over_queries.extend(attention.found)


def _run_in_another_order(watch: Watch, call: Call) -> None:
    """Find out whether the place of a sample in its batch matters; whatever is given has to move with the samples."""
    tensors = _given(call)
    size, _ = _batch_size(watch.facts, call, tensors[0]) if tensors else (None, False)
    per_sample = [t for t in tensors if t.dim() and t.shape[0] == size]
    others = [t for t in tensors if t.numel() > 1 and not (t.dim() and t.shape[0] in (1, size))]
    # With as many samples as positions, nobody can say which axis is the batch's.
    unclear = any(t.dim() <= 3 and size in t.shape[1:] for t in per_sample)
    if size is None or size < 3 or not per_sample or others or unclear or _has_lists(call, size):
        return
    if any(found.what == "samples-mixed" for found in watch.facts.probes) or all(_alike(t) for t in per_sample):
        return
    twin = copy_of(unwrap(call.model)).eval()
    args, kwargs = copy_of_arguments(call.args, call.kwargs)
    before = _repeats(lambda: twin(*args, **kwargs))

    def moved(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.roll(1, 0) if tensor.dim() and tensor.shape[0] == size else tensor

    args, kwargs = with_tensors((args, kwargs), moved)
    after = _outputs(twin(*args, **kwargs)) if before else []
    for old, new in zip(before, after, strict=False):
        if old.shape == new.shape and old.shape[0] == size and size not in old.shape[1:]:
            for change in difference(old.roll(1, 0), new, old):
                name = type(unwrap(call.model)).__name__
                watch.facts.probes.append(Probe(place=call.place, what="place-in-batch", model=name, **change))
                return


def _has_lists(call: Call, size: int) -> bool:
    """Say whether there are as many numbers or texts as samples among the arguments: these do not move with them."""
    return any(
        (isinstance(one, (list, tuple)) and len(one) == size and not isinstance(one[0], torch.Tensor))
        or type(one).__module__ == "numpy"
        for one in [*call.args, *call.kwargs.values()]
    )


def _alike(tensor: torch.Tensor) -> bool:
    return bool((tensor == tensor[:1]).all())


def _run_masked(watch: Watch, call: Call) -> None:
    """Find out whether a module that is told which positions are padding heeds it."""
    model = unwrap(call.model)
    if not _given(call) or masked_call(model, call.args, call.kwargs) is None:
        return
    twin = copy_of(model).eval()
    args, kwargs = copy_of_arguments(call.args, call.kwargs)
    masked = masked_call(twin, args, kwargs)
    if masked is None or not _repeats(lambda: twin(*args, **kwargs)):
        return
    found = [*mask_fails(masked, lambda: twin(*args, **kwargs))]
    if not found:
        found = [*padding_shows(masked, lambda: twin(*args, **kwargs), _one_row(twin, args, kwargs, masked.ids))]
    watch.facts.probes.extend(
        Probe(place=call.place, model=type(model).__name__, names=(masked.name,), **f) for f in found
    )


def _run(watch: Watch, call: Call) -> None:
    facts, model, tensors = watch.facts, unwrap(call.model), _given(call)
    if not tensors:
        return
    is_causal = _predicts_the_next(facts)
    size, assumed = _batch_size(facts, call, tensors[0])
    mixes = size if not facts.stay_in_training and _are_of_samples(tensors, size) else None
    second = _size_of_second_axis(facts, tensors) if not facts.stay_in_training else None
    padding = _padding_of(model, tensors)
    if not is_causal and mixes is None and second is None and padding is None:
        return
    twin = copy_of(model).eval()
    args, kwargs = copy_of_arguments(call.args, call.kwargs)
    given = list(tensors_in([*args, *kwargs.values()]))
    first = _repeats(lambda: twin(*args, **kwargs))
    if not first:
        return
    name = type(model).__name__
    if second is not None and all(one.shape[0] != mixes for one in first):
        mixes = None  # a loader's batch was measured along the other axis
    if mixes is not None or second is not None:
        found = _mixed(
            first, twin, args, kwargs, given=given, size=mixes or second or 0, watch=watch,
            axis=int(mixes is None),
        )  # fmt: skip
        facts.probes.extend(
            Probe(place=call.place, what="samples-mixed", model=name, batch_assumed=assumed or mixes is None, **f)
            for f in found
        )
    if padding is not None:
        found = _padded(first, twin, call.args, call.kwargs, ids=tensors[0], padding=padding)
        facts.probes.extend(Probe(place=call.place, what="padding-matters", model=name, **f) for f in found)
        return
    ids = next((t for t in given if t.dim() == 2 and not t.is_floating_point()), None)
    if is_causal and ids is not None and ids.shape[1] >= 4:
        found = _leaks(first, twin, args, kwargs, ids)
        facts.probes.extend(Probe(place=call.place, what="future-leak", model=name, **f) for f in found)


def _given(call: Call) -> list[torch.Tensor]:
    """Return the tensors that a module was called with; none if it cannot be run again without harm."""
    tensors = list(tensors_in([*call.args, *call.kwargs.values()]))
    return tensors if all(plain(t) for t in tensors) and may_be_copied(unwrap(call.model)) else []


def _repeats(forward: Callable[[], Any]) -> list[torch.Tensor]:
    """Return what a module gives; nothing if it gives something else the second time."""
    first, again = _outputs(forward()), _outputs(forward())
    same = len(first) == len(again) and all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    return first if same else []


def _one_row(model: nn.Module, args: Any, kwargs: Any, ids: torch.Tensor) -> Callable[[int, slice], Any]:
    """Return a function that calls a model with one row of a batch, and some of its positions."""
    size, length = ids.shape[:2]

    def alone(row: int, positions: slice) -> Any:
        def cut(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.dim() and tensor.shape[0] == size:
                tensor = tensor[row : row + 1]
            at = tuple(positions if n == length else slice(None) for n in tensor.shape)
            return tensor[at] if at else tensor

        cut_args, cut_kwargs = with_tensors((args, kwargs), cut)
        return model(*cut_args, **cut_kwargs)

    return alone


def _predicts_the_next(facts: LiveFacts) -> bool:
    """Say whether the targets of the first step are the inputs, shifted by one."""
    return any(
        t.matches is not None and t.step == 0 and t.matches[1] > 0.98 and max(t.matches[0], t.matches[2]) < 0.5
        for t in facts.targets
    )


def _batch_size(facts: LiveFacts, call: Call, first: torch.Tensor) -> tuple[int | None, bool]:
    """Return how many samples a call was given, and whether that is assumed.

    Without a loader, as many class targets as the first axis is long say that it is the batch.
    """
    if call.batch_size is not None or not first.dim():
        return call.batch_size, False
    flat = [t for t in facts.targets if t.step == 0 and t.is_flat and t.num_targets == first.shape[0]]
    return (first.shape[0], True) if flat or call.is_paired else (None, False)


def _outputs(value: Any) -> list[torch.Tensor]:
    return outputs(value, min_axes=1)


def _mixed(
    before: list[torch.Tensor], model: nn.Module, args: Any, kwargs: Any, *, given: list[torch.Tensor], size: int,
    watch: Watch, axis: int = 0,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Make the first sample the same as the second, in all that is given of it; the outputs of the others must stay."""
    pairs = [(tensor.select(axis, 0), tensor.select(axis, 1)) for tensor in given if tensor.dim() > axis]
    if all(torch.equal(first, second) for first, second in pairs):
        return

    def change() -> Callable[[], None]:
        firsts = [first.clone() for first, _ in pairs]
        for first, second in pairs:
            first.copy_(second)

        def undo() -> None:  # other probes go on with it
            for (first, _), kept in zip(pairs, firsts, strict=True):
                first.copy_(kept)

        return undo

    undo = change()
    after = _outputs(model(*args, **kwargs))
    undo()
    for old, new in zip(before, after, strict=True):
        if old.shape[0] != size or size in old.shape[1:] or old.shape != new.shape:
            continue
        for found in difference(old[1:], new[1:], old):
            again = functools.partial(model, *args, **kwargs)
            yield {**found, "began_at": watch.attempt("where samples mix", first_spread, again, change, size, watch)}


def _padding_of(model: nn.Module, tensors: list[torch.Tensor]) -> int | None:
    """Return the padding that rows of the only input end in, if some do and some do not."""
    found = {m.padding_idx for m in model.modules() if isinstance(m, nn.Embedding) and m.padding_idx is not None}
    ids = tensors[0]
    if len(found) != 1 or len(tensors) != 1 or ids.dim() != 2 or ids.is_floating_point():
        return None
    padding = found.pop()
    ends = ids[:, -1] == padding
    return padding if bool(ends.any()) and not bool((ids[:, 0] == padding).any()) else None


def _padded(
    before: list[torch.Tensor], model: nn.Module, args: Any, kwargs: Any, *, ids: torch.Tensor, padding: int
) -> Iterator[dict[str, Any]]:
    """Add two columns of padding; an output for whole rows must not move."""
    longer = nn.functional.pad(ids, (0, 2), value=padding)
    after = _outputs(model(*(longer if a is ids else a for a in args), **{
        k: longer if v is ids else v for k, v in kwargs.items()
    }))  # fmt: skip
    for old, new in zip(before, after, strict=True):
        if old.dim() <= 2 and old.shape == new.shape and old.shape[0] == ids.shape[0]:
            yield from difference(old, new, old)


def _leaks(before: list[torch.Tensor], model: nn.Module, args: Any, kwargs: Any, ids: torch.Tensor) -> Iterator[Any]:
    rows, length = ids.shape
    changed = torch.where(ids[:, -1] == ids[:, 0], ids[:, 1], ids[:, 0])
    if torch.equal(changed, ids[:, -1]):
        return
    ids[:, -1] = changed
    after = _outputs(model(*args, **kwargs))
    for old, new in zip(before, after, strict=True):
        if old.dim() == 3 and old.shape[:2] == (rows, length):
            yield from difference(old[:, :-1], new[:, :-1], old)
            return


def _are_of_samples(tensors: list[torch.Tensor], size: int | None) -> bool:
    """Say whether all tensors have the batch's axis first, and at least one of them a further axis."""
    others = [t for t in tensors if not _one_batch_dim(t, size)]
    return len(others) < len(tensors) and all(t.dim() == 1 and t.shape[0] == size for t in others)


def _size_of_second_axis(facts: LiveFacts, tensors: list[torch.Tensor]) -> int | None:
    """Return how many samples there are if the batch's axis is the second of all tensors: time, sample, feature.

    As many class targets as it is long say so.
    """
    series = [t for t in tensors if t.dim() == 3 and t.is_floating_point()]
    size = series[0].shape[1] if series else 0
    targets = any(t.step == 0 and t.is_flat and t.num_targets == size for t in facts.targets)
    fits = all(t.dim() >= 2 and t.shape[1] == size and size not in (t.shape[0], *t.shape[2:]) for t in tensors)
    return size if size >= 3 and targets and fits else None


def _one_batch_dim(tensor: torch.Tensor, size: int | None) -> bool:
    return (
        size is not None
        and size >= 3
        and tensor.dim() >= 2
        and tensor.shape[0] == size
        and size not in tensor.shape[1:]
    )
