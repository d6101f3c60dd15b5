"""Where a number that is not finite came from: the step is run again, and every module's output looked at."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch

from trainworthy.errors import TrainError
from trainworthy.train.batches import tensors_of
from trainworthy.train.layout import Layout
from trainworthy.train.recipe import Batch, Loss

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trainworthy.train.phase import Work


class NotFiniteError(Exception):
    """A loss or a gradient is not finite. The weights are still good: the optimizer has not used it.

    Attributes:
        loss: The loss of the step on this rank, a sum.
        norm: The norm of the gradient over all ranks.
        work: The step that they belong to.
    """

    def __init__(self, loss: float, norm: float, work: Work) -> None:
        super().__init__(f"loss {loss}, gradient norm {norm}")
        self.loss = loss
        self.norm = norm
        self.work = work


def finite_error(
    error: NotFiniteError,
    model: nn.Module,
    batches: tuple[Batch, ...],
    loss: Callable[[nn.Module, Batch], Loss],
    *,
    place: str,
    layout: Layout,
    in_parts: bool,
) -> TrainError:
    """Return an error that says where a number that is not finite came from, on whichever rank that was.

    Args:
        error: What was seen.
        model: As it was before the step.
        batches: The micro-batches of this rank.
        loss: The phase's loss, in the context and with the random numbers of the step.
        place: Step and phase, in words.
        layout: The ranks.
        in_parts: Whether the model runs only where all ranks join.
    """
    everyone = not math.isfinite(error.norm)  # it is the same on all ranks, so all are here
    runs: Any = "alone" if not in_parts else "together" if everyone else "not"
    names = {id(each): name for name, each in model.named_parameters()}
    found = [(layout.rank, first_cause(model, batches, loss, names=names, runs=runs), error.work.indices)]
    if everyone:
        found = layout.gather_objects(found[0])
    rank, cause, its_indices = next((each for each in found if each[1] is not None), found[0])
    on_rank = f", rank {rank}" if layout.world > 1 else ""
    samples = [index for part in its_indices for index in part]
    return TrainError(
        f"The loss is {error.loss:g} and the norm of its gradient {error.norm:g}.",
        where=f"{place}{on_rank}, samples {_short(samples)}",
        fix=f"First not finite is {cause}." if cause else "It came out finite when the step was run again.",
    )


def first_cause(
    model: nn.Module,
    batches: tuple[Batch, ...],
    loss: Callable[[nn.Module, Batch], Loss],
    *,
    names: dict[int, str],
    runs: Literal["alone", "together", "not"] = "alone",
) -> str | None:
    """Return what is the first not to be finite when the micro-batches run again; None if all are now.

    Looked at, in this order: the weights, the batch, the outputs of modules as they are called, the loss, and the
    gradients of the micro-batch.

    Args:
        model: As it was before the step.
        batches: The micro-batches of this rank.
        loss: The phase's loss, in the context and with the random numbers of the step.
        names: Names of parameters, by ``id``.
        runs: Whether the model may run: ``together`` where it is in parts, so that all ranks have to join in each
            forward pass, whatever they have found by then (gradients are left out); ``not`` where only some are here.
    """
    found = None
    for parameter in model.parameters():
        if _bad(parameter):
            found = f"the weight {names.get(id(parameter), '?')} holds {_what(parameter)} before the step"
            break
    for place, batch in enumerate(batches):
        cause = _in_data(batch)
        if runs == "together" or (runs == "alone" and found is None and cause is None):
            ran = _in_run(model, batch, loss, names, gradients=runs == "alone")
            cause = cause or ran
        if found is None and cause is not None:
            found = cause if len(batches) == 1 else f"micro-batch {place}: {cause}"
    return found


def _in_data(batch: Batch) -> str | None:
    for path, tensor in tensors_of(batch):
        if _bad(tensor):
            return f"the data: {path} of shape {tuple(tensor.shape)} holds {_what(tensor)}"
    return None


def _in_run(
    model: nn.Module,
    batch: Batch,
    loss: Callable[[nn.Module, Batch], Loss],
    names: dict[int, str],
    *,
    gradients: bool,
) -> str | None:
    with _watched(model) as seen, torch.compiler.set_stance("force_eager"):
        result = loss(model, batch)
    if seen:
        return seen[0]
    if _bad(result.total):
        return "the loss function: every module's output is finite, and the loss is not"
    if not gradients or not result.total.requires_grad:
        return None
    trained = [each for each in reversed(list(model.parameters())) if each.requires_grad]
    for parameter, gradient in zip(trained, torch.autograd.grad(result.total, trained, allow_unused=True), strict=True):
        if gradient is not None and _bad(gradient):
            return (
                f"the gradient of {names.get(id(parameter), '?')}: the forward pass is finite, {_what(gradient)} here"
            )
    return None


@contextmanager
def _watched(model: nn.Module) -> Iterator[list[str]]:
    """Note the modules whose output is not finite, in the order in which they return."""
    seen: list[str] = []

    def look(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, _inputs: Any, output: Any) -> None:
            for path, tensor in tensors_of(output, "its output"):
                if _bad(tensor):
                    kind = type(module).__name__
                    seen.append(f"module {name or '(the model)'} ({kind}): {path} holds {_what(tensor)}")
                    return

        return hook

    hooks = [module.register_forward_hook(look(name)) for name, module in model.named_modules()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _bad(tensor: Any) -> bool:
    local = _local(tensor.detach())
    return bool((local.is_floating_point() or local.is_complex()) and not torch.isfinite(local).all())


def _what(tensor: Any) -> str:
    local = _local(tensor.detach())
    nans, infinities = int(torch.isnan(local).sum()), int(torch.isinf(local).sum())
    words = [f"{count} {word}" for count, word in ((nans, "NaN"), (infinities, "infinite")) if count]
    return f"{' and '.join(words)} of {local.numel()} numbers"


def _local(tensor: Any) -> Tensor:
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor  # type: ignore[no-any-return]


def _short(numbers: list[int]) -> str:
    words = [str(number) for number in numbers[:8]]
    return ", ".join(words) + (f", ... ({len(numbers)} in all)" if len(numbers) > 8 else "")
