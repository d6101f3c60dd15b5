"""What libraries take from PyTorch's allocator and give back: workspaces, which a tape does not show.

cuBLAS keeps one for each thread that multiplies. cuDNN's convolutions take one for the time of a call: on matrix units
they want channels last, and images that lie otherwise are turned into copies, input, result and weight.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

from trainworthy.errors import UnknownGpuError
from trainworthy.hardware import gpu_row
from trainworthy.inspect.events import Event, memory_events
from trainworthy.tape.nodes import Leaf, Node, count_ops
from trainworthy.tape.record import PHASES, Signature, Tape, TensorMeta

# Matrix products that go through cuBLAS; its first one takes the library's workspace from PyTorch's allocator. The
# backward pass runs in a thread of autograd's, which has a cuBLAS handle of its own and so takes another (seen on an
# H200, benchmarks/results/gpu_h200-sxm-141gb.json; ``CublasHandlePool.cpp`` keys workspaces by handle and stream).
_GEMMS = frozenset({"mm", "addmm", "bmm", "baddbmm", "linear"})
_BY_AUTOGRAD = frozenset({"backward", "recompute"})

WORKSPACES = (-2, -3)  # storage numbers of cuBLAS's, the caller's and autograd's; those of a tape are not negative
IN_CALL = -4  # of a convolution's, which is given back before the next
_FEWEST_CHANNELS = {
    2: 16,
    4: 32,
}  # by the bytes of an element: with fewer, cuDNN has kernels that take images as they are


class Request(NamedTuple):
    """An event of the allocator; ``num_bytes`` of what a tape has no storage for, else None."""

    event: Event
    num_bytes: int | None = None


def allocator_requests(tape: Tape, device: str, workspace_bytes: int) -> list[Request]:
    """List what the allocator is asked for, with what the libraries ask for."""
    requests = [Request(event) for event in memory_events(tape, device)]
    extra: list[tuple[int, list[Request]]] = []
    for number, in_backward in zip(WORKSPACES, (False, True), strict=True):
        first = first_gemm(tape, in_backward=in_backward) if workspace_bytes else None
        if first is not None:
            extra.append((first, [Request(Event(first, 0, number), workspace_bytes)]))
    if device == tape.device and tape.notes.get("conv_workspaces"):
        for op, sizes in _calls(tape):
            both = [(Request(Event(op, 0, IN_CALL), size), Request(Event(op, -1, IN_CALL))) for size in sizes]
            extra.append((op, [request for pair in both for request in pair]))
    return _merged(requests, sorted(extra, key=lambda item: item[0]))


def _merged(requests: list[Request], extra: list[tuple[int, list[Request]]]) -> list[Request]:
    """Put what an operation asks for between the births of its results and the deaths that follow it."""
    merged: list[Request] = []
    at = 0
    for op, more in extra:
        while at < len(requests) and (
            requests[at].event.op < op or (requests[at].event.op == op and requests[at].event.storage_class >= 0)
        ):
            merged.append(requests[at])
            at += 1
        merged += more
    return merged + requests[at:]


def first_gemm(tape: Tape, *, in_backward: bool = False) -> int | None:
    """Return the index of the first matrix product on the device of the training, in the backward pass or outside."""
    wanted = []
    for row in tape.rows:
        signature = tape.signatures[row.signature]
        on_device = any(t.device == tape.device for t in signature.outputs)
        is_gemm = _name(signature) in _GEMMS
        wanted.append(on_device and is_gemm and (PHASES[row.phase] in _BY_AUTOGRAD) == in_backward)
    index = 0
    for segment in tape.segments:
        for node in segment.nodes:
            found = _first_in(node, wanted)
            if found is not None:
                return index + found
            index += count_ops(node)
    return None


def _first_in(node: Node, wanted: list[bool]) -> int | None:
    if isinstance(node, Leaf):
        return 0 if wanted[node.row] else None
    index = 0
    for child in node.body:
        found = _first_in(child, wanted)
        if found is not None:
            return index + found
        index += count_ops(child)
    return None


# --- calls of cuDNN -----------------------------------------------------------------------------------------------


def _calls(tape: Tape) -> Iterator[tuple[int, list[int]]]:
    """Yield the index of each call of cuDNN that needs a workspace, and the bytes of each of its kernels."""
    conv_tf32 = bool(tape.notes.get("conv_tf32", True)) and _has_tf32(tape)
    signatures = [tape.signatures[row.signature] for row in tape.rows]
    sizes = [conv_workspaces_bytes(each, conv_tf32=conv_tf32) or rnn_workspaces_bytes(each) for each in signatures]
    if not any(sizes):
        return
    index = 0
    for segment in tape.segments:
        for node in segment.nodes:
            for at, row in _leaves(node):
                if sizes[row]:
                    yield index + at, sizes[row]
            index += count_ops(node)


def _has_tf32(tape: Tape) -> bool:
    try:
        return gpu_row(str(tape.notes.get("gpu"))).supports_tf32
    except UnknownGpuError:
        return True


def _leaves(node: Node) -> Iterator[tuple[int, int]]:
    if isinstance(node, Leaf):
        yield 0, node.row
        return
    at = 0
    for _ in range(node.count):
        for child in node.body:
            for inner, row in _leaves(child):
                yield at + inner, row
            at += count_ops(child)


def conv_workspaces_bytes(signature: Signature, *, conv_tf32: bool = True) -> list[int]:
    """Return what each kernel of a convolution takes: input, result and weight once more, channels last.

    Source:   observed on an H200 (cuDNN 9, benchmarks/gpu_library_memory.py, 216 convolutions): 1.00 to 1.02 times that
              for large images; 1x1 kernels without stride and few channels take none. Gradients of weights sometimes
              take several times as much, which is not modelled.
    """
    name = _name(signature)
    if name not in {"convolution", "convolution_backward"}:
        return []
    backward = name.endswith("backward")
    if len(signature.inputs) < 2 + backward or not signature.outputs:
        return []
    y, x, w = signature.inputs[:3] if backward else (signature.outputs[0], *signature.inputs[:2])
    width = 2 if w.dtype in {"float16", "bfloat16"} else 4 if w.dtype == "float32" and conv_tf32 else 0
    if not width or len(x.shape) != 4 or not _is_turned(x, w, y, fewest=_FEWEST_CHANNELS[width]):
        return []
    size = width * (prod(x.shape) + prod(y.shape) + prod(w.shape))
    kernels = sum(meta.shape in (x.shape, w.shape) for meta in signature.outputs) if backward else 1
    return [size] * kernels


def _is_turned(x: TensorMeta, w: TensorMeta, y: TensorMeta, *, fewest: int) -> bool:
    channels_last = x.stride[1] == 1 and x.shape[1] > 1
    pointwise = prod(w.shape[2:]) == 1 and x.shape[2:] == y.shape[2:]
    grouped = w.shape[1] != x.shape[1] and w.shape[0] != x.shape[1]
    return not (channels_last or pointwise or grouped) and min(x.shape[1], y.shape[1]) >= fewest


_RNN_LAYER_BYTES = 8 * 2**20


def rnn_workspaces_bytes(signature: Signature) -> list[int]:
    """Return what a call of cuDNN's recurrent layers takes; nothing for other operations.

    8 MiB for each layer and direction; weights, input and result once more; and the gates of all steps of one layer:
    once, or three times for two directions. A single GRU layer takes its input once more in each direction.

    Source:   observed on an H100 (cuDNN 9, benchmarks/gpu_library_memory.py): LSTM and GRU in float32 and float16
              within 2 % for 39 of 64 layers, within 13 % for 59, never above; layers without gates (``nn.RNN``), whose
              algorithm differs, take up to three times as much.
    """
    name = _name(signature)
    if name not in {"_cudnn_rnn", "_cudnn_rnn_backward"} or not signature.inputs:
        return []
    x = signature.inputs[0]
    state = next((meta.shape for meta in signature.inputs[1:] if len(meta.shape) == 3), None)
    if state is None or len(x.shape) != 3 or len(signature.inputs) < 3:
        return []
    stacked, _, hidden = state
    results = signature.outputs if name == "_cudnn_rnn" else signature.inputs[2:]
    widths = [meta.shape[2] for meta in results if len(meta.shape) == 3 and meta.shape[:2] == x.shape[:2]]
    directions = 2 if widths and widths[0] == 2 * hidden else 1
    rows = signature.inputs[1].shape[0]  # of a layer's weight: the gates times the hidden units
    weights = sum(prod(m.shape) for m in signature.inputs[1:] if len(m.shape) in {1, 2} and m.shape[0] == rows)
    extra = directions if rows == 3 * hidden and stacked == directions else 0
    each_step = (2 * directions - 1) * rows + directions * hidden + (1 + extra) * x.shape[2]
    width = 2 if x.dtype in {"float16", "bfloat16"} else 4
    return [stacked * _RNN_LAYER_BYTES + width * (prod(x.shape[:2]) * each_step + weights)]


def _name(signature: Signature) -> str:
    return signature.name.split(".")[0].removeprefix("aten::")
