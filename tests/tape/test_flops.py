"""FLOPs and moved bytes against numbers worked out by hand, and against PyTorch's counter where that is right."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from trainworthy.tape.record import Op, Tape
from trainworthy.tape.recorder import Recorder
from trainworthy.tape.totals import step_totals
from trainworthy.virtual.gpu import VirtualGpu

Run = Callable[[], Any]


def tape_of(run: Run) -> Tape:
    with Recorder() as recorder:
        keep = run()
    del keep
    return recorder.tape()


def flops(run: Run) -> tuple[int, int]:
    """Return dot-product FLOPs forward and backward; nothing in it may be unknown."""
    with Recorder() as recorder:
        out = run()
        out = out[0] if isinstance(out, tuple) else out
        if out.requires_grad:
            out.sum().backward()
    tape = recorder.tape()
    assert tape.unknown_flop_ops() == {}
    by_phase = step_totals(tape, None).flops_by_phase
    backward = by_phase.get("backward", 0)
    return sum(by_phase.values()) - backward, backward


def leaf(*shape: int) -> Tensor:
    return torch.ones(*shape, requires_grad=True)


def nine() -> tuple[Tensor, Tensor]:
    """Nine numbers in two tensors."""
    return torch.ones(4), torch.ones(5)


def zeros(count: int) -> Tensor:
    """Indices."""
    return torch.zeros(count, dtype=torch.long)


# --- products of matrices --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "forward", "backward"),
    [
        (lambda: F.linear(leaf(5, 3), leaf(7, 3), leaf(7)), 2 * 5 * 3 * 7, 4 * 5 * 3 * 7),
        (lambda: F.linear(leaf(2, 5, 3), leaf(7, 3)), 2 * 10 * 3 * 7, 4 * 10 * 3 * 7),
        (lambda: F.linear(torch.ones(5, 3), leaf(7, 3)), 210, 210),  # no gradient of the input
        (lambda: leaf(5, 3) @ leaf(3, 7), 210, 420),
        (lambda: leaf(4, 5, 3) @ leaf(4, 3, 7), 4 * 210, 8 * 210),
        (lambda: leaf(4, 5, 3) @ leaf(3, 7), 4 * 210, 8 * 210),
        (lambda: torch.addmm(leaf(7), leaf(5, 3), leaf(3, 7), beta=2), 210, 420),
        (lambda: torch.baddbmm(leaf(4, 5, 7), leaf(4, 5, 3), leaf(4, 3, 7)), 840, 1680),
        (lambda: torch.addbmm(torch.ones(5, 7), torch.ones(4, 5, 3), torch.ones(4, 3, 7)), 840, 0),
        (lambda: torch.mv(leaf(5, 3), leaf(3)), 30, 30),  # weight: outer product, counted as multiplications
        (lambda: torch.eye(5).to_sparse() @ torch.ones(5, 7), 2 * 5 * 7, 0),  # five entries
        (lambda: torch.dot(leaf(9), leaf(9)), 18, 0),
        (lambda: torch.addmv(torch.ones(5), torch.ones(5, 3), torch.ones(3)), 30, 0),
        (lambda: torch.addr(torch.ones(5, 3), torch.ones(5), torch.ones(3)), 30, 0),
        (lambda: torch.ones(5, 7).addmm_(torch.ones(5, 3), torch.ones(3, 7)), 210, 0),
        (lambda: torch.mm(torch.ones(5, 3), torch.ones(3, 7), out=torch.ones(5, 7)), 210, 0),
        (lambda: torch.mv(torch.ones(5, 3), torch.ones(3), out=torch.ones(5)), 30, 0),
        (lambda: torch.einsum("bik,bkj->bij", leaf(4, 5, 3), leaf(4, 3, 7)), 840, 1680),
        (lambda: torch.einsum("bhqd,bhkd->bhqk", leaf(2, 3, 4, 5), leaf(2, 3, 6, 5)), 1440, 2880),
        (lambda: F.bilinear(torch.ones(4, 3), torch.ones(4, 5), torch.ones(2, 3, 5)).sum() * 0, None, None),
    ],
)  # fmt: skip
def test_products(run: Run, forward: int | None, backward: int | None) -> None:
    if forward is None:
        assert tape_of(run).unknown_flop_ops() == {"_trilinear": 1}
    else:
        assert flops(run) == (forward, backward)


# --- convolutions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "forward"),
    [
        # multiply-adds: samples * output positions * output channels * (input channels / groups) * kernel
        (lambda: F.conv1d(leaf(2, 4, 10), leaf(6, 4, 3)), 2 * 8 * 6 * 4 * 3),
        (lambda: F.conv2d(leaf(2, 4, 9, 9), leaf(6, 4, 3, 3), leaf(6), padding=1), 2 * 81 * 6 * 4 * 9),
        (lambda: F.conv2d(leaf(2, 4, 9, 9), leaf(6, 4, 3, 3), stride=2), 2 * 16 * 6 * 4 * 9),
        (lambda: F.conv2d(leaf(2, 4, 9, 9), leaf(6, 4, 3, 3), dilation=2), 2 * 25 * 6 * 4 * 9),
        (lambda: F.conv2d(leaf(2, 4, 9, 9), leaf(6, 2, 3, 3), groups=2), 2 * 49 * 6 * 2 * 9),
        (lambda: F.conv2d(leaf(2, 4, 9, 9), leaf(4, 1, 3, 3), groups=4), 2 * 49 * 4 * 1 * 9),
        (lambda: F.conv2d(leaf(2, 4, 9, 7), leaf(6, 4, 1, 5)), 2 * 9 * 3 * 6 * 4 * 5),
        (lambda: F.conv3d(leaf(1, 2, 5, 6, 7), leaf(3, 2, 2, 3, 2)), 4 * 4 * 6 * 3 * 2 * 12),
        # transposed: every input position meets the whole kernel
        (lambda: F.conv_transpose1d(leaf(2, 4, 5), leaf(4, 6, 3), stride=2), 2 * 5 * 4 * 6 * 3),
        (lambda: F.conv_transpose2d(leaf(2, 4, 5, 5), leaf(4, 6, 3, 3), stride=2), 2 * 25 * 4 * 6 * 9),
        (lambda: F.conv_transpose2d(leaf(2, 4, 5, 5), leaf(4, 3, 3, 3), groups=2), 2 * 25 * 4 * 3 * 9),
        (lambda: F.conv_transpose3d(leaf(1, 2, 3, 3, 3), leaf(2, 5, 2, 2, 2)), 27 * 2 * 5 * 8),
    ],
)  # fmt: skip
def test_convolutions(run: Run, forward: int) -> None:
    assert flops(run) == (2 * forward, 4 * forward)


def test_the_first_convolution_needs_no_gradient_of_its_input() -> None:
    forward = 2 * 2 * 49 * 6 * 4 * 9
    assert flops(lambda: F.conv2d(torch.ones(2, 4, 9, 9), leaf(6, 4, 3, 3))) == (forward, forward)


# --- attention -------------------------------------------------------------------------------------------------------

_SHAPE = (2, 3, 8, 16)  # batch, heads, length, width
_PRODUCT = 2 * 2 * 3 * 8 * 8 * 16  # FLOPs of one product of attention


@pytest.mark.parametrize("causal", [False, True])
def test_attention_on_the_cpu(causal: bool) -> None:
    """Scores and values forward; backward four products and the scores again; a causal mask changes no count."""

    def run() -> Tensor:
        return F.scaled_dot_product_attention(leaf(*_SHAPE), leaf(*_SHAPE), leaf(*_SHAPE), is_causal=causal)

    assert flops(run) == (2 * _PRODUCT, 5 * _PRODUCT)
    tape = tape_of(lambda: run().sum().backward())
    recomputed = {op.name: op.recompute_flops for op in tape.ops if op.recompute_flops}
    mask = ".causal" if causal else ""  # the name says what decides a kernel's time
    assert recomputed == {f"_scaled_dot_product_flash_attention_for_cpu_backward{mask}": _PRODUCT}


@pytest.mark.parametrize("causal", [False, True])
def test_attention_as_plain_products(causal: bool) -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    def run() -> Tensor:
        with sdpa_kernel(SDPBackend.MATH):
            return F.scaled_dot_product_attention(leaf(*_SHAPE), leaf(*_SHAPE), leaf(*_SHAPE), is_causal=causal)

    assert flops(run) == (2 * _PRODUCT, 4 * _PRODUCT)


def _virtual_attention(dtype: torch.dtype, kv_heads: int = 4, causal: bool = True, **options: Any) -> list[Op]:
    with VirtualGpu() as gpu:
        q = torch.ones(2, 4, 8, 16, device="cuda", dtype=dtype, requires_grad=True)
        k, v = (torch.ones(2, kv_heads, 8, 16, device="cuda", dtype=dtype, requires_grad=True) for _ in range(2))
        F.scaled_dot_product_attention(q, k, v, is_causal=causal, **options).sum().backward()
    assert gpu.tape().unknown_flop_ops() == {}
    return [op for op in gpu.tape().ops if op.flops]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("backend", ["FLASH_ATTENTION", "EFFICIENT_ATTENTION", "CUDNN_ATTENTION", "MATH"])
def test_attention_kernels_of_the_gpu(backend: str, causal: bool) -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel(getattr(SDPBackend, backend)):
        ops = _virtual_attention(torch.bfloat16, causal=causal)
    product = 2 * 2 * 4 * 8 * 8 * 16
    forward = sum(op.flops or 0 for op in ops if op.phase != "backward")
    backward = sum(op.flops or 0 for op in ops if op.phase == "backward")
    recomputed = sum(op.recompute_flops for op in ops)
    fused = backend != "MATH"
    assert (forward, backward, recomputed) == (2 * product, (4 + fused) * product, fused * product)
    if fused:
        assert {backend.lower().split("_")[0] in op.name for op in ops} == {True}


def test_shared_heads_of_keys_and_values_cost_as_many_flops() -> None:
    product = 2 * 2 * 4 * 8 * 8 * 16
    ops = _virtual_attention(torch.bfloat16, kv_heads=2, enable_gqa=True)
    assert sum(op.flops or 0 for op in ops if op.phase != "backward") == 2 * product
    assert (
        sum(op.flops or 0 for op in ops if op.phase == "backward") - sum(op.recompute_flops for op in ops)
        == 4 * product
    )


# --- recurrent layers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "gates"), [(nn.RNN, 1), (nn.GRU, 3), (nn.LSTM, 4)])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_recurrent_layers(kind: Any, gates: int, bidirectional: bool) -> None:
    """Each step multiplies input and state by the matrices of all gates; the backward pass does so twice."""
    steps, batch, width, hidden, directions = 7, 5, 3, 4, 1 + bidirectional
    first = gates * hidden * (width + hidden)
    second = gates * hidden * (directions * hidden + hidden)
    forward = 2 * steps * batch * directions * (first + second)
    layer = kind(width, hidden, num_layers=2, bidirectional=bidirectional)
    # Where the CPU takes the layer apart, the first state, which is constant, gets no gradient.
    unneeded = 0 if kind is nn.LSTM else 2 * 2 * directions * batch * gates * hidden * hidden
    assert flops(lambda: layer(leaf(steps, batch, width))[0]) == (forward, 2 * forward - unneeded)
    with VirtualGpu() as gpu:
        layer = kind(width, hidden, num_layers=2, bidirectional=bidirectional).cuda()
        layer(torch.ones(steps, batch, width, device="cuda", requires_grad=True))[0].sum().backward()
    totals = step_totals(gpu.tape(), None).flops_by_phase
    assert (totals["forward"], totals["backward"]) == (forward, 2 * forward)


# --- what is no dot product ------------------------------------------------------------------------------------------


def test_norms_lookups_and_pooling_have_no_dot_products() -> None:
    x = leaf(2, 4, 6, 6)
    for run in (
        lambda: F.layer_norm(x, (6,)), lambda: F.group_norm(x, 2), lambda: F.max_pool2d(x, 2), lambda: F.softmax(x, -1),
        lambda: F.batch_norm(x, torch.ones(4), torch.ones(4), training=True), lambda: F.rms_norm(x, (6,)),
        lambda: F.embedding(zeros(3), leaf(9, 5)), lambda: F.gelu(x), lambda: x[:, 0] + 1,
    ):  # fmt: skip
        assert flops(run) == (0, 0)


@pytest.mark.parametrize(
    ("run", "name", "expected"),
    [
        (lambda: torch.ones(4, 5) + torch.ones(5), "add.Tensor", 20),
        (lambda: torch.ones(4, 5).sum(), "sum", 20),
        (lambda: F.layer_norm(torch.ones(4, 5), (5,)), "native_layer_norm", 7 * 20),
        (lambda: F.softmax(torch.ones(4, 5), -1), "_softmax", 5 * 20),
        (lambda: torch.ones(4, 5).clone(), "clone", 0),
        (lambda: torch.ones(4, 5).transpose(0, 1), "transpose.int", 0),
        (lambda: torch._foreach_add_(nine(), nine()), "_foreach_add_.List", 9),
        (lambda: torch._foreach_mul(nine(), 2.0), "_foreach_mul.Scalar", 9),
    ],
)  # fmt: skip
def test_pointwise_arithmetic_is_kept_apart(run: Run, name: str, expected: int) -> None:
    (op,) = [op for op in tape_of(run).ops if op.name == name]
    assert (op.flops, op.pointwise_flops) == (0, expected)


def test_fused_optimizers_are_counted_by_parameters() -> None:
    with VirtualGpu() as gpu:
        for kind in (torch.optim.AdamW, torch.optim.SGD):
            weight = nn.Parameter(torch.ones(100, device="cuda"))
            weight.grad = torch.ones(100, device="cuda")
            options: dict[str, Any] = {"momentum": 0.9} if kind is torch.optim.SGD else {}
            kind([weight], lr=0.1, fused=True, **options).step()
    ops = {op.name.split(".")[0]: op for op in gpu.tape().ops if op.name.startswith("_fused")}
    assert ops["_fused_adamw_"].pointwise_flops == 14 * 100
    assert ops["_fused_sgd_"].pointwise_flops == 4 * 100
    # read: parameter, gradient, two moments, a step count; written: all but the gradient
    assert ops["_fused_adamw_"].moved_bytes == pytest.approx(7 * 400, abs=16)


# --- unknown is None -------------------------------------------------------------------------------------------------


@torch.library.custom_op("trainworthy_tests::twice", mutates_args=())
def _twice(x: Tensor) -> Tensor:
    return x * 2


@pytest.mark.parametrize(
    ("run", "name"),
    [
        (lambda: _twice(torch.ones(3)), "trainworthy_tests.twice"),
        (lambda: torch.linalg.svd(torch.eye(3)), "_linalg_svd"),
        (lambda: torch.linalg.cholesky(torch.eye(3)), "linalg_cholesky_ex"),
        (lambda: torch.linalg.eigh(torch.eye(3)), "_linalg_eigh"),
        (lambda: torch.linalg.inv(torch.eye(3)), "linalg_inv_ex"),
        (lambda: torch.fft.fft(torch.ones(8)), "_fft_r2c"),
        (lambda: torch.cdist(torch.ones(9, 3), torch.ones(9, 3)), "_cdist_forward"),
        (lambda: torch._int_mm(torch.ones(32, 32, dtype=torch.int8), torch.ones(32, 32, dtype=torch.int8)), "_int_mm"),
    ],
)  # fmt: skip
def test_unknown_is_none_and_is_listed(run: Run, name: str) -> None:
    tape = tape_of(run)
    assert name in tape.unknown_flop_ops()
    assert all(op.flops is None for op in tape.ops if op.name == name)
    assert step_totals(tape, None).unknown_flop_ops == sum(tape.unknown_flop_ops().values())


# --- moved bytes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "name", "expected"),
    [
        (lambda: torch.ones(10) + torch.ones(10), "add.Tensor", 120),
        (lambda: torch.ones(4, 1).expand(4, 8) * torch.ones(4, 8), "mul.Tensor", 16 + 128 + 128),
        (lambda: torch.ones(()) * torch.ones(8), "mul.Tensor", 4 + 32 + 32),
        (lambda: torch.ones(10).add_(torch.ones(10)), "add_.Tensor", 120),
        (lambda: torch.ones(4, 5) @ torch.ones(5, 6), "mm", 4 * (20 + 30 + 24)),
        (lambda: torch.ones(4, 5).to(torch.bfloat16), "_to_copy", 80 + 40),
        (lambda: torch.ones(10).copy_(torch.ones(10)), "copy_", 80),
        (lambda: torch.ones(10).zero_(), "zero_", 40),
        (lambda: torch.zeros_like(torch.ones(10)), "zeros_like", 40),
        (lambda: torch.ones(10).new_zeros(5), "new_zeros", 20),
        (lambda: torch.empty(10), "empty.memory_format", 0),
        (lambda: torch.ones(4, 5).view(20), "view", 0),
        (lambda: torch.ones(4, 5).t(), "t", 0),
        (lambda: torch.ones(4, 5)[1:], "slice.Tensor", 0),
        (lambda: torch.ones(4, 1).expand(4, 9), "expand", 0),
        (lambda: torch.ones(4, 5).unbind(), "unbind.int", 0),
        (lambda: torch.ones(4, 5).unsqueeze_(0), "unsqueeze_", 0),
        # a table of 1,000 rows of 20 bytes: three rows are read and written, three indices are read
        (lambda: F.embedding(zeros(3), torch.ones(1000, 5)), "embedding", 2 * 60 + 24),
        (lambda: torch.ones(1000, 5)[zeros(3)], "index.Tensor", 2 * 60 + 24),
        (lambda: torch.ones(1000, 5).index_select(0, zeros(3)), "index_select", 2 * 60 + 24),
        (lambda: torch.ones(1000, 5).index_add_(0, zeros(3), torch.ones(3, 5)), "index_add_", 24 + 3 * 60),
        # not in place: the table is copied first
        (lambda: torch.ones(100, 5).index_add(0, zeros(3), torch.ones(3, 5)), "index_add", 4000 + 24 + 180),
        (lambda: F.nll_loss(torch.ones(50, 1000), zeros(50)), "nll_loss_forward", 2 * 400 + 8),
        (lambda: torch._foreach_add_(nine(), nine()), "_foreach_add_.List", 3 * 36),
        (lambda: torch._foreach_mul_(nine(), 2.0), "_foreach_mul_.Scalar", 2 * 36),
        (lambda: torch._foreach_zero_(nine()), "_foreach_zero_", 36),
        (lambda: torch.ones(4, 5).to_sparse() @ torch.ones(5, 2), "mm", 20 * 16 + 20 * 4 + 40 + 32),
    ],
)  # fmt: skip
def test_moved_bytes(run: Run, name: str, expected: int) -> None:
    ops = [op for op in tape_of(run).ops if op.name == name]
    assert [op.moved_bytes for op in ops] == [expected], [op.name for op in tape_of(run).ops]


# --- against PyTorch's own counter -----------------------------------------------------------------------------------

dim = st.integers(1, 6)


def counted(run: Run) -> int:
    with FlopCounterMode(display=False) as counter:
        out = run()
        if out.requires_grad:
            out.sum().backward()
    return int(counter.get_total_flops())


@given(b=dim, m=dim, k=dim, n=dim)
@settings(max_examples=30)
def test_agrees_with_torch_on_products(b: int, m: int, k: int, n: int) -> None:
    for run in (
        lambda: leaf(b, m, k) @ leaf(b, k, n), lambda: F.linear(leaf(b, m, k), leaf(n, k), leaf(n)),
        lambda: torch.baddbmm(leaf(b, m, n), leaf(b, m, k), leaf(b, k, n)),
    ):  # fmt: skip
        assert sum(flops(run)) == counted(run)


@given(n=dim, c=dim, o=dim, size=st.integers(6, 9), kernel=st.integers(1, 3), stride=st.integers(1, 2),
       padding=st.integers(0, 2), transposed=st.booleans())  # fmt: skip
@settings(max_examples=30)
def test_agrees_with_torch_on_convolutions_without_groups(
    *, n: int, c: int, o: int, size: int, kernel: int, stride: int, padding: int, transposed: bool
) -> None:
    def run() -> Tensor:
        if transposed:
            return F.conv_transpose2d(leaf(n, c, size, size), leaf(c, o, kernel, kernel), None, stride, padding)
        return F.conv2d(leaf(n, c, size, size), leaf(o, c, kernel, kernel), None, stride, padding)

    assert sum(flops(run)) == counted(run)


@given(groups=st.integers(2, 4), c=st.integers(1, 3), o=st.integers(1, 3), size=st.integers(3, 6))
@settings(max_examples=20)
def test_groups_are_independent_convolutions(groups: int, c: int, o: int, size: int) -> None:
    """The law that PyTorch's counter breaks in the backward pass: g groups cost what g convolutions cost."""
    whole = flops(lambda: F.conv2d(leaf(2, groups * c, size, size), leaf(groups * o, c, 3, 3), groups=groups))
    part = flops(lambda: F.conv2d(leaf(2, c, size, size), leaf(o, c, 3, 3)))
    assert whole == (groups * part[0], groups * part[1])


def test_a_transformer_block_agrees_with_torch() -> None:
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, dropout=0.0)
    x = torch.ones(2, 6, 16)
    attention = 2 * math.prod((2, 6, 6, 16))  # one product of attention over all heads
    # The counter of torch 2.13 does not know the fused kernel of the CPU: 2 products forward, 5 backward.
    assert sum(flops(lambda: layer(x))) == counted(lambda: layer(x)) + 7 * attention
