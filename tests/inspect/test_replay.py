"""A tape played through the allocator."""

from __future__ import annotations

from report.tape_builder import MIB, TapeBuilder, small_training, unfolded
from trainworthy.inspect.peak import place_at
from trainworthy.inspect.replay import replay
from trainworthy.inspect.workspaces import WORKSPACES, allocator_requests, first_gemm


def test_hand_counted_peak() -> None:
    tape = TapeBuilder()
    (a,) = tape.op("randn", births=(("parameter", 30 * MIB),))
    (b,) = tape.op("relu", births=(("temporary", 40 * MIB),), deaths=(a,), line=7)
    tape.op("relu", births=(("temporary", 30 * MIB),), deaths=(b,))
    played = replay(tape.build())
    # a and b are alive together while b is made; then a's segment is free and serves the last one.
    assert played.peak_allocated_bytes == 70 * MIB
    assert played.peak_reserved_bytes == 70 * MIB
    assert (played.peak_op, played.rounding_bytes) == (1, 0)


def test_folded_and_unfolded_agree() -> None:
    for layers in (1, 2, 7):
        tape = small_training(layers=layers)
        assert replay(tape, workspace_bytes=MIB) == replay(unfolded(tape), workspace_bytes=MIB)


def test_what_is_alive_adds_up_to_the_peak() -> None:
    tape = small_training(layers=5, activation_bytes=3 * MIB + 100)
    played = replay(tape, workspace_bytes=8_519_680)
    tensors = sum(n * (-(-tape.classes[w].size_bytes // 512) * 512) for w, n in played.live_at_peak.items())
    assert tensors + played.workspace_at_peak_bytes + played.rounding_bytes == played.peak_allocated_bytes
    assert played.workspace_at_peak_bytes == 2 * 8_519_680


def test_a_workspace_is_taken_by_the_first_matrix_product_of_each_thread() -> None:
    tape = small_training()
    first, in_backward = first_gemm(tape), first_gemm(tape, in_backward=True)
    assert first is not None
    assert in_backward is not None
    assert place_at(tape, first).op == "addmm"
    assert place_at(tape, in_backward).phase == "backward"
    asked = allocator_requests(tape, "cuda:0", 1000)
    taken = [r for r in asked if r.event.number in WORKSPACES]
    assert [(r.event.op, r.num_bytes) for r in taken] == [(first, 1000), (in_backward, 1000)]
    assert allocator_requests(tape, "cuda:0", 0) == [r for r in asked if r.event.number not in WORKSPACES]


def test_capacity_says_where_memory_runs_out() -> None:
    tape = small_training(layers=4)
    played = replay(tape, capacity_bytes=60 * MIB)
    assert played.out_of_memory is not None
    assert played.out_of_memory_op is not None
    # Weights fill a segment of 20 MiB; input and two activations a second, two more the third; the fifth fails.
    place = place_at(tape, played.out_of_memory_op)
    assert (place.source.line, place.module, place.step) == (12, "layers.2.fc", 1)
    assert replay(tape).out_of_memory is None


def test_place_at_agrees_with_the_unfolded_tape() -> None:
    tape = small_training(layers=6)
    for op in tape.ops:
        place = place_at(tape, op.index)
        assert (place.op, place.module, place.source, place.step) == (op.name, op.module, op.source, op.step)
