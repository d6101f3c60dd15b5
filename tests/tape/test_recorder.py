"""Kinds, lifetimes and host syncs of what is recorded, and that recording leaves nothing behind."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import optimizer as optimizer_module
from torch.utils.checkpoint import checkpoint

from trainworthy.tape.memory import exact_timeline_bytes
from trainworthy.tape.record import Kind, Storage, Tape
from trainworthy.tape.recorder import Recorder
from trainworthy.virtual.gpu import VirtualGpu


def train(device: str, steps: int = 2) -> tuple[nn.Module, torch.optim.Optimizer]:
    net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.GELU(), nn.Linear(6, 2)).to(device)
    optimizer = torch.optim.AdamW(net.parameters(), foreach=False)
    loss_fn = nn.MSELoss()
    for _ in range(steps):
        x, y = torch.randn(8, 4, device=device), torch.randn(8, 2, device=device)
        loss = loss_fn(net(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return net, optimizer


@pytest.fixture(params=["cpu", "cuda"])
def tape(request: pytest.FixtureRequest) -> Tape:
    if request.param == "cpu":
        with Recorder() as recorder:
            keep = train("cpu")
            tape = recorder.tape(device="cpu", granularity_bytes=1)
    else:
        with VirtualGpu() as gpu:
            keep = train("cuda")
            tape = gpu.tape()
    del keep
    return tape


def storages(tape: Tape, kind: Kind) -> list[Storage]:
    return [s for s in tape.storages() if s.kind == kind and s.device == tape.device]


_PARAMETER_BYTES = sorted(4 * n for n in (4 * 6, 6, 6, 6, 6 * 2, 2))


def test_parameters_live_to_the_end(tape: Tape) -> None:
    found = storages(tape, "parameter")
    assert sorted(s.size_bytes for s in found) == _PARAMETER_BYTES
    assert all(s.death is None for s in found)


def test_gradients_are_those_of_parameters_and_die_with_zero_grad(tape: Tape) -> None:
    found = storages(tape, "gradient")
    assert sorted(s.size_bytes for s in found) == sorted(2 * _PARAMETER_BYTES)
    assert all(s.death is not None for s in found)


def test_adamw_keeps_two_tensors_for_each_parameter(tape: Tape) -> None:
    found = [s for s in storages(tape, "optimizer_state") if s.size_bytes > 4 or s.origin != "zeros"]
    moments = [s for s in storages(tape, "optimizer_state") if s.origin == "zeros_like"]
    assert sorted(s.size_bytes for s in moments) == sorted(2 * _PARAMETER_BYTES)
    assert all(s.death is None for s in found)
    assert {op.phase for op in tape.ops if op.name == "zeros_like"} == {"optimizer"}


def test_buffers_are_running_statistics(tape: Tape) -> None:
    assert sorted(s.size_bytes for s in storages(tape, "buffer")) == [8, 24, 24]


def test_inputs_are_batches_and_targets(tape: Tape) -> None:
    assert sorted(s.size_bytes for s in storages(tape, "input")) == [64, 64, 128, 128]


def test_activations_are_what_the_backward_pass_needs(tape: Tape) -> None:
    # Of each step: output of the first layer (for batch norm), of batch norm (for GELU), of GELU (for the last layer),
    # of the last layer (for the loss): 8 rows each; batch statistics; the loss and the seed of the backward pass.
    layers = {"addmm", "native_batch_norm", "gelu"}
    rows = [s.size_bytes for s in storages(tape, "activation") if s.origin in layers and s.size_bytes > 24]
    assert sorted(rows) == sorted([192, 192, 192, 64] * 2)
    assert all(s.death is not None for s in storages(tape, "activation") if s.size_bytes == 192)


def test_what_is_left_over_is_temporary(tape: Tape) -> None:
    ops = list(tape.ops)
    for storage in storages(tape, "temporary"):
        assert storage.death is None or storage.death - storage.birth < 20
        assert ops[storage.birth].phase != "forward" or storage.size_bytes <= 192
    assert storages(tape, "workspace") == []


def test_modules_in_both_directions(tape: Tape) -> None:
    assert {op.module for op in tape.ops if op.phase == "forward"} == {"0", "1", "2", "3"}
    assert {op.module for op in tape.ops if op.phase == "backward"} >= {"0", "1", "2", "3"}
    products = [(op.phase, op.module) for op in tape.ops if op.step == 2 and op.name in {"mm", "addmm"}]
    assert products == [("forward", "0"), ("forward", "3"), ("backward", "3"), ("backward", "3"), ("backward", "0")]


def test_the_model_is_described(tape: Tape) -> None:
    infos = {info.template.format(*info.first): info for info in tape.model if info.template}
    assert infos["0"].class_name == infos["3"].class_name == "Linear"
    assert infos["0"].parameters == 30
    assert infos["1"].output_shape == (8, 6)
    (group,) = tape.parameter_groups
    assert (group.optimizer, group.tensors, group.elements) == ("AdamW", 6, 56)


# --- lifetimes -------------------------------------------------------------------------------------------------------


def test_birth_and_death_of_a_storage() -> None:
    with Recorder() as recorder:
        a = torch.ones(4)  # operation 0
        b = a + 1  # operation 1
        c = b.view(2, 2)
        del b  # the view keeps it
        d = c * 2  # operation 3
        del c, a
        d += 1  # operation 4
    one, two, three = recorder.tape().storages()
    assert (one.size_bytes, one.birth, one.death) == (16, 0, 4)
    assert (two.size_bytes, two.birth, two.death) == (16, 1, 4)
    assert (three.size_bytes, three.birth, three.death) == (16, 3, None)
    assert (one.origin, two.origin, three.origin) == ("ones", "add", "mul")
    assert exact_timeline_bytes(recorder.tape(), "cpu") == [16, 32, 32, 48, 16]
    assert recorder.ledger.peak_bytes["cpu"] == 48
    assert recorder.ledger.allocated_bytes["cpu"] == 16
    del d


def test_what_lived_before_is_born_with_the_first_operation() -> None:
    weight = torch.ones(8)
    with Recorder() as recorder:
        torch.ones(2)
        weight.mul_(2)
    outside = recorder.tape().storages()[1]
    assert (outside.birth, outside.origin, outside.size_bytes) == (0, "outside", 32)


def test_a_kernel_that_frees_its_input_is_seen() -> None:
    with Recorder() as recorder:
        a = torch.ones(4)
        a = a.add(1)
        a = a.add(1)
    timeline = exact_timeline_bytes(recorder.tape(), "cpu")
    assert timeline == [16, 32, 32]
    del a


def test_a_backward_pass_before_the_recording_does_no_harm() -> None:
    expected = _lines(False)
    assert _lines(True) == expected


def _lines(backward_first: bool) -> list[tuple[str, str, str, int]]:
    if backward_first:
        other = nn.Linear(7, 7)
        other(torch.ones(7, 7)).sum().backward()
        kept = checkpoint(other, torch.ones(7, 7, requires_grad=True), use_reentrant=False)
    with VirtualGpu() as gpu:
        train("cuda")
    if backward_first:
        assert isinstance(kept, torch.Tensor)
        kept.sum().backward()
    return [(op.name, op.phase, op.module, op.source.line) for op in gpu.tape().ops]


def test_recording_twice_in_one_process_gives_the_same() -> None:
    assert _lines(False) == _lines(False)


def test_paused_operations_are_left_out_but_their_storages_are_followed() -> None:
    with Recorder() as recorder:
        a = torch.ones(4)
        with recorder.pause():
            b = a + 1
        c = b * 2
    tape = recorder.tape()
    assert [op.name for op in tape.ops] == ["ones", "mul.Tensor"]
    assert len(tape.storages()) == 3
    del c


# --- host syncs ------------------------------------------------------------------------------------------------------


def test_host_syncs_are_counted_on_the_gpu() -> None:
    with VirtualGpu() as gpu:
        x = torch.ones(4, device="cuda")
        x.sum().item()
        x.cpu()
        x.to("cpu", non_blocking=True)
        torch.ones(4).pin_memory().to("cuda", non_blocking=True)
        x.add(1)
        torch.cuda.synchronize()
        if x[0] > 0:
            x.neg()
    syncs = [(op.name, op.host_syncs) for op in gpu.tape().ops if op.host_syncs]
    read = ("_local_scalar_dense", 1)
    assert syncs == [read, ("_to_copy", 1), ("cuda.synchronize", 1), read]


def test_a_cpu_never_waits_for_itself() -> None:
    with Recorder() as recorder:
        x = torch.ones(4)
        x.sum().item()
        x[x > 0].cpu()
    assert not any(op.host_syncs for op in recorder.tape().ops)


# --- nothing is left behind ------------------------------------------------------------------------------------------


def _patched() -> Iterator[Any]:
    yield nn.Module.__call__
    yield nn.Module.__init__
    yield torch.optim.Optimizer.__init__
    yield torch.autograd.Function.__dict__["apply"]
    yield torch.autograd.graph._engine_run_backward
    yield vars(torch.autograd)["_engine_run_backward"]
    yield dict(optimizer_module._global_optimizer_pre_hooks)
    yield dict(optimizer_module._global_optimizer_post_hooks)
    yield torch.utils._python_dispatch._get_current_dispatch_mode_stack()
    yield torch.overrides._get_current_function_mode_stack()
    yield torch.is_grad_enabled()


@pytest.mark.parametrize("context", [Recorder, VirtualGpu])
@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_left_behind(context: Any, fails: bool) -> None:
    before = list(_patched())
    try:
        with context():
            train("cpu" if context is Recorder else "cuda")
            assert nn.Module.__call__ is not before[0]
            if fails:
                raise KeyError("of the user")
    except KeyError:
        assert fails
    assert list(_patched()) == before


def test_a_recording_that_is_over_records_nothing() -> None:
    with Recorder() as recorder:
        torch.ones(3)
    recorded = len(recorder.ops)
    train("cpu", steps=1)
    assert len(recorder.ops) == recorded
    assert recorder.steps.current == 0


def test_a_recorder_keeps_no_tensor_alive() -> None:
    with Recorder() as recorder:
        train("cpu")
        gc.collect()
        alive = [s for s in recorder.tape().storages() if s.death is None]
    assert alive == []
    assert recorder.ledger.allocated_bytes["cpu"] == 0


def test_recorders_may_be_nested() -> None:
    with Recorder() as outer:
        torch.ones(3)
        with Recorder() as inner:
            torch.ones(3)
    assert len(inner.ops) == 1
    assert len(outer.ops) == 2


def test_the_gradient_of_silu_is_one_kernel_on_cuda() -> None:
    with VirtualGpu() as gpu:
        x = torch.randn(4, 8, device="cuda", requires_grad=True)
        torch.nn.functional.silu(x).sum().backward()
    names = [op.name for op in gpu.recorder.tape().ops]
    assert "silu_backward" in names
    assert "sigmoid" not in names


class _Nested(torch.autograd.Function):
    """Runs a backward pass in its backward pass, and so on: beyond 60 the engine goes on in a thread of its own."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, depth: int) -> torch.Tensor:
        ctx.depth = depth
        ctx.save_for_backward(x)
        return x * 1.0

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, None]:
        if not ctx.depth:
            return grads[0], None
        x = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad():
            total = _Nested.apply(x * 2.0, ctx.depth - 1).sum()  # type: ignore[no-untyped-call]
        total.backward()
        return x.grad, None


def test_backward_in_a_thread_without_python_below_it_is_recorded() -> None:
    """As on a GPU, where the engine runs all of it in such threads."""
    x = torch.ones(3, requires_grad=True)
    with Recorder() as recorder:
        _Nested.apply(x * 2.0, 70).sum().backward()  # type: ignore[no-untyped-call]
        tape = recorder.tape(device="cpu", granularity_bytes=1)
    assert sum(op.name.startswith("mul") and op.phase == "backward" for op in tape.ops) >= 71
