from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from trainworthy.errors import FormulaError
from trainworthy.formulas import flops as f
from trainworthy.tape.flops import POINTWISE_FLOPS_PER_ELEMENT, op_cost

dim = st.integers(1, 24)
aten = torch.ops.aten


def counted(function: Any, *arguments: Any, **options: Any) -> int:
    with FlopCounterMode(display=False) as counter:
        function(*arguments, **options)
    return int(counter.get_total_flops())


def meta(*shape: int, dtype: torch.dtype = torch.float32, grad: bool = False) -> torch.Tensor:
    return torch.empty(shape, device="meta", dtype=dtype, requires_grad=grad)


@given(dim, dim, dim, dim)
def test_matmul_agrees_with_torch_and_with_the_tape(b: int, m: int, k: int, n: int) -> None:
    x, w = meta(b, m, k), meta(b, k, n)
    expected = f.matmul_flops(batch=b, m=m, k=k, n=n)
    assert expected == counted(torch.bmm, x, w)
    cost = op_cost(aten.bmm.default, "bmm", (x, w), {}, torch.bmm(x, w))
    assert (cost.flops, cost.moved_bytes) == (expected, f.matmul_bytes(batch=b, m=m, k=k, n=n, bytes_per_element=4))
    assert expected == b * m * n * f.dot_product_flops(length=k)
    assert f.macs(flops=expected) == b * m * n * k


@given(dim, dim, dim, dim)
def test_splitting_columns_conserves_flops(m: int, k: int, n1: int, n2: int) -> None:
    assert f.matmul_flops(m=m, k=k, n=n1 + n2) == f.matmul_flops(m=m, k=k, n=n1) + f.matmul_flops(m=m, k=k, n=n2)


@given(dim, dim, dim, st.booleans())
def test_linear_forward_and_backward(rows: int, inside: int, out: int, needs_input: bool) -> None:
    layer = torch.nn.Linear(inside, out, device="meta")
    x = meta(rows, inside, grad=needs_input)
    forward = f.linear_flops(rows=rows, in_features=inside, out_features=out)
    backward = f.linear_backward_flops(
        rows=rows, in_features=inside, out_features=out, needs_input_gradient=needs_input
    )
    assert counted(lambda: layer(x).sum().backward()) == forward + backward


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, Any]:
    dims = draw(st.integers(1, 3))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    return {
        "batch": draw(st.integers(1, 3)), "in_channels": groups * draw(st.integers(1, 4)),
        "out_channels": groups * draw(st.integers(1, 4)), "groups": groups,
        "kernel": tuple(draw(st.lists(st.integers(1, 4), min_size=dims, max_size=dims))),
        "spatial": tuple(draw(st.lists(st.integers(4, 9), min_size=dims, max_size=dims))),
        "stride": draw(st.integers(1, 3)), "padding": draw(st.integers(0, 2)), "dilation": draw(st.integers(1, 2)),
    }  # fmt: skip


def layer_of(case: dict[str, Any], kind: Literal["Conv", "ConvTranspose"]) -> torch.nn.Module:
    options = {name: case[name] for name in ("stride", "padding", "dilation", "groups")}
    layer = getattr(torch.nn, f"{kind}{len(case['kernel'])}d")
    module: torch.nn.Module = layer(case["in_channels"], case["out_channels"], case["kernel"], **options, device="meta")
    return module


@settings(max_examples=150)
@given(convolutions(), st.booleans())
def test_convolution_of_any_dimension(case: dict[str, Any], needs_input: bool) -> None:
    reach = [case["dilation"] * (k - 1) + 1 for k in case["kernel"]]
    assume(all(n + 2 * case["padding"] >= r for n, r in zip(case["spatial"], reach, strict=True)))
    x = meta(case["batch"], case["in_channels"], *case["spatial"], grad=needs_input)
    layer = layer_of(case, "Conv")
    out = layer(x)
    shape = {name: case[name] for name in ("batch", "in_channels", "out_channels", "kernel", "groups")}
    forward = f.conv_flops(**shape, positions=tuple(out.shape[2:]))
    assert counted(layer, x) == forward
    backward = f.conv_backward_flops(**shape, positions=tuple(out.shape[2:]), needs_input_gradient=needs_input)
    assert backward == forward * (1 + needs_input)
    dims = len(case["kernel"])
    arguments = (
        torch.empty_like(out), x, layer.weight, [case["out_channels"]], [case["stride"]] * dims,
        [case["padding"]] * dims, [case["dilation"]] * dims, False, [0] * dims, case["groups"],
        [needs_input, True, False],
    )  # fmt: skip
    cost = op_cost(aten.convolution_backward.default, "convolution_backward", arguments, {}, (x, layer.weight, None))
    assert cost.flops == backward


@settings(max_examples=100)
@given(convolutions())
def test_transposed_convolution_counts_input_positions(case: dict[str, Any]) -> None:
    reach = [case["dilation"] * (k - 1) + 1 for k in case["kernel"]]
    sizes = [(n - 1) * case["stride"] - 2 * case["padding"] + r for n, r in zip(case["spatial"], reach, strict=True)]
    assume(min(sizes) > 0)
    x = meta(case["batch"], case["in_channels"], *case["spatial"])
    shape = {name: case[name] for name in ("batch", "in_channels", "out_channels", "kernel", "groups")}
    assert counted(layer_of(case, "ConvTranspose"), x) == f.conv_flops(**shape, positions=case["spatial"])


def test_goldens_by_hand() -> None:
    # ResNet-50's first layer: 118 MMACs, as in every published table of that network.
    first = f.conv_flops(batch=1, in_channels=3, out_channels=64, kernel=(7, 7), positions=(112, 112))
    assert f.macs(flops=first) == 118_013_952
    assert f.matmul_flops(m=1024, k=768, n=3072) == 4_831_838_208
    assert f.embedding_bytes(tokens=8, dim=16, bytes_per_element=4) == 2 * 8 * 16 * 4 + 8 * 8
    assert f.optimizer_step_bytes(parameters=10, read_bytes=16, written_bytes=12) == 280


recurrences = st.fixed_dictionaries({
    "batch": st.integers(1, 5), "steps": st.integers(1, 5), "input_size": st.integers(1, 5),
    "hidden_size": st.integers(1, 5), "layers": st.integers(1, 4), "directions": st.integers(1, 2),
})  # fmt: skip


@given(st.sampled_from(["rnn", "gru", "lstm"]), recurrences)
def test_recurrent_layers_follow_their_weights(kind: Any, size: dict[str, Any]) -> None:
    make: Any = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[kind]
    sizes = (size["input_size"], size["hidden_size"], size["layers"])
    module = make(*sizes, bidirectional=size["directions"] == 2, device="meta")
    weights = sum(w.numel() for name, w in module.named_parameters() if name.startswith("weight"))
    assert f.recurrent_flops(kind=kind, **size) == 2 * size["batch"] * size["steps"] * weights


@given(st.integers(1, 9), st.integers(1, 9))
def test_passes_are_those_of_the_tape(rows: int, columns: int) -> None:
    names = {
        "layer_norm": "native_layer_norm", "group_norm": "native_group_norm", "batch_norm": "native_batch_norm",
        "rms_norm": "_fused_rms_norm", "dropout": "native_dropout",
    }  # fmt: skip
    for kind, name in names.items():
        assert f.PASSES_PER_ELEMENT[kind] == (
            POINTWISE_FLOPS_PER_ELEMENT[name], POINTWISE_FLOPS_PER_ELEMENT[f"{name}_backward"]
        )  # fmt: skip
    for kind in ("softmax", "log_softmax"):
        backward = POINTWISE_FLOPS_PER_ELEMENT[f"_{kind}_backward_data"]
        assert f.PASSES_PER_ELEMENT[kind] == (POINTWISE_FLOPS_PER_ELEMENT[f"_{kind}"], backward)
    x = meta(rows, columns)
    cost = op_cost(aten._softmax.default, "_softmax", (x, -1, False), {}, F.softmax(x, -1))
    assert cost.pointwise_flops == f.pass_flops(kind="softmax", elements=rows * columns)
    assert cost.moved_bytes == f.elementwise_bytes(elements=rows * columns, bytes_per_element=4)


@given(st.integers(1, 9), st.integers(1, 9))
def test_elementwise_reductions_and_gathers_are_those_of_the_tape(rows: int, columns: int) -> None:
    x = meta(rows, columns)
    add = op_cost(aten.add.Tensor, "add", (x, x), {}, x + x)
    assert add.pointwise_flops == f.elementwise_flops(elements=rows * columns)
    assert add.moved_bytes == f.elementwise_bytes(elements=rows * columns, bytes_per_element=4, inputs=2)
    total = op_cost(aten.sum.dim_IntList, "sum", (x, [1]), {}, x.sum(1))
    assert total.pointwise_flops == f.reduction_flops(elements=rows * columns)
    assert total.moved_bytes == f.reduction_bytes(elements=rows * columns, results=rows, bytes_per_element=4)
    indices = meta(5, dtype=torch.int64)
    rows_read = op_cost(aten.embedding.default, "embedding", (x, indices), {}, F.embedding(indices, x))
    assert rows_read.flops == 0
    assert rows_read.moved_bytes == f.embedding_bytes(tokens=5, dim=columns, bytes_per_element=4)


CHANNELS = {"batch": 1, "in_channels": 3, "out_channels": 4}
ONES = dict.fromkeys(("batch", "steps", "input_size", "hidden_size"), 1)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: f.matmul_flops(m=-1, k=2, n=3), "m"), (lambda: f.matmul_flops(m=1, k=-2, n=3), "k"),
        (lambda: f.matmul_bytes(m=1, k=1, n=1, bytes_per_element=-2), "bytes_per_element"),
        (lambda: f.macs(flops=7), "flops"), (lambda: f.elementwise_flops(elements=-1), "elements"),
        (lambda: f.pass_flops(kind="instance_norm", elements=1), "kind"),
        (lambda: f.pass_flops(kind="softmax", elements=1, direction="up"), "direction"),  # type: ignore[arg-type]
        (lambda: f.conv_flops(**CHANNELS, kernel=(3,), positions=(3,), groups=2), "in_channels"),
        (lambda: f.conv_flops(**CHANNELS, kernel=(3,), positions=(3, 3)), "kernel"),
        (lambda: f.conv_flops(**CHANNELS, kernel=(0,), positions=(3,)), "kernel"),
        (lambda: f.conv_flops(**CHANNELS, kernel=(1,), positions=(-3,)), "positions"),
        (lambda: f.recurrent_flops(kind="lstm", **ONES, directions=3), "directions"),
        (lambda: f.optimizer_step_bytes(parameters=1, read_bytes=0, written_bytes=1), "read_bytes"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_by_name(call: Any, argument: str) -> None:
    with pytest.raises(FormulaError) as caught:
        call()
    assert caught.value.argument == argument
    assert caught.value.message.startswith(f"{argument} is ")
