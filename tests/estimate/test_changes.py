"""What changes do to a tape, by hand; and that the tape stays one."""

from __future__ import annotations

import pytest

from estimate.hand_made import H100, chain, dense, with_shapes
from report.tape_builder import TapeBuilder
from trainworthy.estimate import changes
from trainworthy.estimate.autocast import with_autocast
from trainworthy.estimate.rewrite import on_device
from trainworthy.estimate.steps import Setting, run_steps
from trainworthy.tape.record import ModuleInfo, Tape

SIZE = 4 << 20


def step_s(tape: Tape) -> float:
    return run_steps({0: tape}, Setting(machine=H100)).step_s


def test_a_fused_optimizer_reads_and_writes_once() -> None:
    tape = chain(elements=1 << 24)
    changed = changes.with_fused_optimizer(tape, 1)
    assert changed is not None
    moved = {op.name: op.moved_bytes for op in changed.tape.ops if op.phase == "optimizer"}
    # Parameters, gradients read, parameters written; the tape has no states.
    assert moved == {"as_strided_": 0, "_fused_adamw_": 3 * 16 * SIZE}
    assert step_s(changed.tape) < step_s(tape)
    assert changes.with_fused_optimizer(changed.tape, 1) is None


def test_an_optimizer_of_another_kind_is_left_alone() -> None:
    tape = TapeBuilder()
    tape.op("_foreach_add_", phase="optimizer")
    assert changes.with_fused_optimizer(tape.build(), 1) is None


def loss_tape(*, numel: int = 1 << 21) -> Tape:
    tape = TapeBuilder()
    (logits,) = tape.op("mm", births=(("activation", 4 * numel),))
    (p,) = tape.op("_log_softmax", phase="loss", reads=(logits,), births=(("activation", 4 * numel),),
                   moved_bytes=8 * numel, pointwise_flops=1)  # fmt: skip
    (g,) = tape.op("nll_loss_backward", phase="backward", reads=(p,), births=(("temporary", 4 * numel),),
                   moved_bytes=4 * numel)  # fmt: skip
    tape.op("_log_softmax_backward_data", phase="backward", reads=(g, p), births=(("temporary", 4 * numel),),
            moved_bytes=12 * numel, deaths=(g, p))  # fmt: skip
    shape = (1024, numel // 1024)
    names = {"_log_softmax": 1, "nll_loss_backward": 1, "_log_softmax_backward_data": 2, "mm": 0}
    return with_shapes(tape.build(), {name: ((shape,) * n, (shape,)) for name, n in names.items()})


def test_a_fused_loss_moves_the_logits_three_times() -> None:
    tape = loss_tape()
    changed = changes.with_fused_loss(tape, 1)
    assert changed is not None
    moved = {op.name: op.moved_bytes for op in changed.tape.ops}
    assert moved["fused_cross_entropy"] == 3 * 4 * (1 << 21)
    assert sum(moved.values()) == moved["fused_cross_entropy"] + moved["mm"]
    assert changed.saved_bytes == 3 * 4 * (1 << 21)  # softmax, its gradient, and that of the loss
    assert changes.with_fused_loss(loss_tape(numel=1 << 12), 1) is None


def blocks(*, layers: int = 4) -> Tape:
    tape = TapeBuilder()
    saved: list[int] = []
    for n in range(layers):
        saved += tape.op("mm", module="h.{}.fc", numbers=(n,), flops=10**9, moved_bytes=10**6,
                         births=(("activation", 8 * SIZE), ("activation", SIZE)))  # fmt: skip
    tape.op("mm", phase="backward", reads=tuple(saved), flops=2 * 10**9, moved_bytes=2 * 10**6, deaths=tuple(saved))
    model = (ModuleInfo(template="h.{}", class_name="Block", count=layers, first=(0,), last=(layers - 1,),
                        output_shape=(1024, 1024)),)  # fmt: skip
    return tape.build(model=model)


def test_checkpointing_repeats_the_forward_pass_of_the_blocks() -> None:
    tape = blocks()
    changed = changes.checkpointed(tape, 1)
    assert changed is not None
    recomputed = [op for op in changed.tape.ops if op.phase == "recompute"]
    assert [op.module for op in recomputed] == [f"h.{n}.fc" for n in range(4)]
    # Held: 4 x 9 units; kept: 4 inputs of one unit; at work: one block of 9.
    assert changed.saved_bytes == (36 - 4 - 9) * SIZE
    assert step_s(changed.tape) > step_s(tape)
    back = changes.without_checkpointing(changed.tape, 1)
    assert back is not None
    assert step_s(back.tape) == pytest.approx(step_s(tape), rel=0.05)
    assert changes.without_checkpointing(tape, 1) is None


def test_padding_rounds_sizes_of_weights_up() -> None:
    tape = TapeBuilder()
    tape.op("mm", reads=tape.op("randn", births=(("parameter", 64), ("parameter", 64))), flops=2 * 256 * 768 * 50257,
            births=(("activation", 64),))  # fmt: skip
    shaped = with_shapes(tape.build(), {"mm": (((256, 768), (768, 50257)), ((256, 50257),))})
    changed = changes.padded(shaped, 1)
    assert changed is not None
    op = next(op for op in changed.tape.ops if op.name == "mm")
    assert [t.shape for t in op.inputs] == [(256, 768), (768, 50304)]
    assert op.flops == 2 * 256 * 768 * 50304
    assert changed.note == "50,257 to 50,304"
    assert changes.padded(changed.tape, 1) is None


def test_channels_last_changes_strides_only() -> None:
    tape = TapeBuilder()
    (x,) = tape.op("randn", births=(("input", 64),))
    tape.op("convolution", reads=(x, x), births=(("activation", 64),), flops=10**6)
    shaped = with_shapes(tape.build(), {"convolution": (((8, 64, 32, 32), (64, 64, 3, 3)), ((8, 64, 32, 32),))})
    changed = changes.in_channels_last(shaped, 1)
    assert changed is not None
    op = next(op for op in changed.tape.ops if op.name == "convolution")
    assert op.inputs[0].stride == (64 * 32 * 32, 1, 32 * 64, 64)
    assert op.inputs[0].shape == (8, 64, 32, 32)
    assert changes.in_channels_last(changed.tape, 1) is None


def test_without_syncs_the_host_never_waits() -> None:
    tape = TapeBuilder()
    tape.op("relu")
    tape.op("item", host_syncs=1)
    changed = changes.without_syncs(tape.build(), 1)
    assert changed is not None
    assert changes.without_syncs(changed.tape, 1) is None


def test_types_follow_the_data_under_autocast() -> None:
    tape = with_autocast(chain(layers=2))
    types = {op.name: [t.dtype for t in (*op.inputs, *op.outputs)] for op in tape.ops}
    assert types["mm"] == ["bfloat16"] * 3
    assert types["gelu"] == ["bfloat16"] * 2
    assert types["_foreach_add_.List"] == ["float32"]
    assert [op.name for op in tape.ops].count("_to_copy") == 1  # the input; what follows has 16 bits already
    moved = {op.name: op.moved_bytes for op in tape.ops}
    assert moved["gelu"] == SIZE
    assert tape.memory().end_bytes < chain(layers=2).memory().end_bytes


def test_a_tape_on_another_device() -> None:
    tape = on_device(chain(), "cpu")
    assert tape.device == "cpu"
    assert {t.device for op in tape.ops for t in (*op.inputs, *op.outputs)} == {"cpu"}
    assert tape.memory().peak_bytes == chain().memory().peak_bytes


def test_dense_strides() -> None:
    assert dense((2, 3, 4)).stride == (12, 4, 1)
