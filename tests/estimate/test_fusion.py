"""Chains of elementwise work become one kernel that moves what is used outside of it."""

from __future__ import annotations

from collections import Counter

from estimate.hand_made import chain
from report.tape_builder import TapeBuilder, unfolded
from trainworthy.estimate.fusion import compiled
from trainworthy.tape.record import Tape

SIZE = 4 << 20


def ops_of(tape: Tape) -> Counter[str]:
    return Counter(op.name for op in tape.ops)


def test_add_gelu_mul_are_one_kernel_that_reads_once_and_writes_what_lives_on() -> None:
    tape = compiled(chain(layers=1))
    (fused,) = (op for op in tape.ops if op.name == "compiled.fused_elementwise")
    # Reads the product; writes the activation that is kept and the result. The sum dies inside.
    assert fused.moved_bytes == 3 * SIZE
    assert fused.pointwise_flops == 3 << 20
    assert ops_of(tape)["compiled.mm.laid_out"] == 1


def test_what_lives_only_inside_is_never_allocated() -> None:
    before, after = chain(layers=2), compiled(chain(layers=2))
    assert len(after.storages()) == len(before.storages()) - 2  # the sum of each layer
    assert after.memory().peak_bytes <= before.memory().peak_bytes
    assert after.memory().end_bytes == before.memory().end_bytes


def test_folding_and_compiling_can_be_exchanged() -> None:
    tape = chain(layers=7)
    one, other = compiled(tape), compiled(unfolded(tape))
    assert [(op.name, op.moved_bytes, op.module) for op in one.ops] == [
        (op.name, op.moved_bytes, op.module) for op in other.ops
    ]
    assert one.storages() == other.storages()


def test_optimizers_syncs_and_other_sizes_stay_apart() -> None:
    tape = TapeBuilder()
    (x,) = tape.op("relu", births=(("temporary", 64),))
    tape.op("relu", reads=(x,), shape_in=(8, 8), shape_out=(8, 8), births=(("temporary", 256),))
    tape.op("item", reads=(x,), host_syncs=1)
    tape.op("add_.Tensor", phase="optimizer", reads=(x,), births=(("temporary", 64),))
    assert ops_of(compiled(tape.build())) == {"compiled.relu": 2, "item": 1, "add_.Tensor": 1}


def test_views_join_a_chain_and_do_not_end_it() -> None:
    tape = TapeBuilder()
    (x,) = tape.op("relu", births=(("temporary", 64),))
    tape.op("view", reads=(x,), moved_bytes=0)
    tape.op("neg", reads=(x,), births=(("temporary", 64),))
    assert ops_of(compiled(tape.build())) == {"compiled.fused_elementwise": 1}
