"""Profiles: sizes with letters, layouts, and that a profile is the tape of its model at another batch."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.errors import UsageError
from trainworthy.estimate.op_classes import op_class
from trainworthy.estimate.profiles import profile_names, profiled_step, size_of, tensor_of
from trainworthy.hardware import gpu_row
from trainworthy.virtual.gpu import VirtualGpu
from zoo.resnet import resnet


@given(st.integers(1, 1000), st.integers(1, 64), st.integers(1, 64))
def test_a_size_is_a_number_times_batch_and_sequence(number: int, batch: int, sequence: int) -> None:
    assert size_of(f"{number}bs", batch, sequence) == number * batch * sequence
    assert size_of(str(number), batch, sequence) == number


def test_layouts() -> None:
    assert tensor_of("h n 2,3,4,5", 1, 1).stride == (60, 20, 5, 1)
    assert tensor_of("h c 2,3,4,5", 1, 1).stride == (60, 1, 15, 3)
    assert tensor_of("h t 3,4", 1, 1).stride == (1, 3)
    assert tensor_of("f n *b,7", 5, 1).stride == (0, 1)


def test_a_type_stands_in_for_float32() -> None:
    assert tensor_of("f n b", 2, 1, "float64").dtype == "float64"
    assert tensor_of("i n b", 2, 1, "float64").dtype == "int64"


def test_an_unknown_profile_lists_the_known() -> None:
    with pytest.raises(UsageError, match="No profile"):
        profiled_step("nothing", variant="train-amp", batch=1)
    with pytest.raises(UsageError, match="no 'infer-amp'"):
        profiled_step("resnet50", variant="infer-amp", batch=1)


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_can_be_read(name: str) -> None:
    from trainworthy.estimate.profiles import profile_of

    for variant in profile_of(name)["variants"]:
        step = profiled_step(name, variant=variant, batch=3, sequence=5)
        assert step.ops
        assert step.peak_bytes > 0
        assert all(op.times > 0 for op in step.ops)


def test_a_profile_is_the_tape_of_the_model_at_that_batch() -> None:
    with VirtualGpu(gpu_row("h200-sxm-141gb")) as gpu:
        model = resnet(18).cuda().eval()
        steps = gpu.recorder.steps
        steps.begin()
        with torch.no_grad():
            model(torch.empty(5, 3, 224, 224, device="cuda"))
        steps.finish()
        tape = gpu.tape(script="resnet18", steps=1)
    here: Counter[tuple[str, tuple[int, ...]]] = Counter()
    for row, times in tape.row_counts(1).items():
        signature = tape.signatures[tape.rows[row].signature]
        if op_class(signature.name) != "view":
            here[signature.name, signature.outputs[0].shape] += times
    profile: Counter[tuple[str, tuple[int, ...]]] = Counter()
    for count, _, signature in profiled_step("resnet18", variant="infer-fp32", batch=5).ops:
        profile[signature.name, signature.outputs[0].shape] += count
    cross_entropy = {"_log_softmax", "nll_loss_forward"}  # the profile's inference is scored
    assert here == Counter({key: n for key, n in profile.items() if key[0] not in cross_entropy})
