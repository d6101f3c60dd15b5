"""Where a number that is not finite came from: the step is run again, and every module's output looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch

from trainworthy.train.batches import tensors_of
from trainworthy.train.recipe import Batch, Loss

if TYPE_CHECKING:
    from torch import Tensor, nn


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
