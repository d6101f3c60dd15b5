"""One function a tool: FLOPs of the forward pass, and of forward and backward, of a model.

Every tool is used as its manual shows. ``Counted.step`` is None where a tool counts no backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.flops_models import Model

_BACKWARD = 4  # trainworthy.tape.record.PHASES.index("backward")
# The dot products among fvcore's operators; the rest of its total is norms, poolings and the like.
_FVCORE_DOT = ("conv", "linear", "matmul", "addmm", "bmm", "einsum", "mm")


class Counted(NamedTuple):
    """FLOPs of dot products, one multiply-add being 2; ``left_out`` names what the tool says it did not count.

    ``own_total`` is the forward figure that the tool itself prints, doubled where it calls a multiply-add one, with
    whatever else it counts (norms, poolings, activations). ``executed_step`` includes what fused kernels compute again.
    """

    forward: int
    step: int | None
    left_out: tuple[str, ...] = ()
    own_total: int | None = None
    executed_step: int | None = None


def _loss(out: Any) -> Any:
    logits = getattr(out, "logits", out)
    return logits.sum()


def trainworthy(model: Model) -> Counted:
    """Rehearse on a virtual GPU; nothing is computed."""
    from trainworthy.virtual.gpu import VirtualGpu

    with VirtualGpu() as gpu:
        module, inputs = model.build().to("cuda").eval(), model.inputs("cuda")
        _loss(module(*inputs)).backward()
    return _from_tape(gpu.tape())


def trainworthy_recorder(model: Model) -> Counted:
    """Record the real step on the CPU."""
    from trainworthy.tape.recorder import Recorder

    module, inputs = model.build().eval(), model.inputs("cpu")
    with Recorder() as recorder:
        _loss(module(*inputs)).backward()
    return _from_tape(recorder.tape(device="cpu"))


def _from_tape(tape: Any) -> Counted:
    forward = executed = again = 0
    for index, count in tape.row_counts().items():
        row = tape.rows[index]
        signature = tape.signatures[row.signature]
        flops = count * (signature.flops or 0)
        executed += flops
        again += count * signature.recompute_flops
        forward += 0 if row.phase == _BACKWARD else flops
    return Counted(forward, executed - again, tuple(tape.unknown_flop_ops()), executed_step=executed)


def torchinfo(model: Model) -> Counted:
    """``summary(...).total_mult_adds``, doubled."""
    from torchinfo import summary

    found = summary(model.build(), input_data=list(model.inputs("cpu")), verbose=0, mode="eval")
    return Counted(2 * found.total_mult_adds, None)


def fvcore(model: Model) -> Counted:
    """``FlopCountAnalysis``, doubled: it counts multiply-adds; of its operators, the dot products."""
    import logging

    import torch
    from fvcore.nn import FlopCountAnalysis

    logging.getLogger("fvcore").setLevel(logging.ERROR)
    with torch.no_grad():
        analysis = FlopCountAnalysis(model.build().eval(), model.inputs("cpu"))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        by_operator, left_out = analysis.by_operator(), tuple(analysis.unsupported_ops())
    dot = sum(count for name, count in by_operator.items() if name in _FVCORE_DOT)
    return Counted(2 * int(dot), None, left_out, own_total=2 * int(sum(by_operator.values())))


def calflops(model: Model) -> Counted:
    """Doubled multiply-adds of ``calculate_flops``; it takes the backward pass to be twice the forward pass.

    A model that fails leaves torch's functions wrapped, and whatever is counted next in the process counts twice.
    """
    import torch
    from calflops import calculate_flops

    with torch.no_grad():
        flops, macs, _ = calculate_flops(
            model.build().eval(), args=list(model.inputs("cpu")), print_results=False, output_as_string=False
        )
    return Counted(2 * int(macs), 3 * 2 * int(macs), own_total=int(flops))


def flop_counter(model: Model) -> Counted:
    """torch's ``FlopCounterMode`` around a real step on the CPU."""
    return _flop_counter(model, "cpu")


def flop_counter_meta(model: Model) -> Counted:
    """torch's ``FlopCounterMode`` around a step of tensors without data."""
    return _flop_counter(model, "meta")


def _flop_counter(model: Model, device: str) -> Counted:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device(device):
        module = model.build().eval()
    inputs = model.inputs(device)
    with FlopCounterMode(display=False) as forward:
        out = _loss(module(*inputs))
    with FlopCounterMode(display=False) as backward:
        out.backward()
    return Counted(int(forward.get_total_flops()), int(forward.get_total_flops() + backward.get_total_flops()))


TOOLS: dict[str, Callable[[Model], Counted]] = {
    tool.__name__: tool
    for tool in (
        trainworthy, trainworthy_recorder, torchinfo, fvcore, calflops, flop_counter, flop_counter_meta,
    )
}  # fmt: skip
