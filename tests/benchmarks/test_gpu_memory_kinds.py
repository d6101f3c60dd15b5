"""The probes of ``gpu_memory_kinds.py`` on the virtual GPU, and how its answers are compared."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_memory_kinds as asked
from benchmarks import gpu_memory_kinds_compare as compared
from trainworthy.hardware import gpu_row
from trainworthy.virtual.gpu import VirtualGpu


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to ask")
def test_without_a_gpu_nothing_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu_memory_kinds", str(tmp_path / "answer.json")])
    assert asked.main() == 0
    assert not (tmp_path / "answer.json").exists()


def test_probes_are_asked_by_name() -> None:
    names = [name for name, _ in asked.probes()]
    assert len(set(names)) == len(names)
    assert {"outside", "cells", "wide softmax", "convolutions", "last batch", "resnet50 64 amp search"} <= set(names)


def test_what_is_outside_is_what_the_driver_gave_beside_the_allocator() -> None:
    with VirtualGpu(gpu_row("h100-sxm-80gb")) as gpu:
        found = compared.outside(asked.outside())
        assert set(found.values()) == {round(gpu.context_bytes / (1 << 20))}


def test_a_cell_that_is_asked_of_the_virtual_gpu_answers_as_predicted() -> None:
    with VirtualGpu(gpu_row("h100-sxm-80gb")):
        noted = asked.cells()
    for each in compared.cells(noted, "h100-sxm-80gb"):
        assert each["measured_bytes"] == each["predicted_bytes"]


def test_lasting_gradients_cut_up_the_blocks_of_the_first_steps_logits() -> None:
    allocated, reserved = compared.rehearsed(asked.wide_softmax, "h100-sxm-80gb")
    assert reserved - allocated > 768 << 20  # a block of logits, 784 MiB


def test_a_convolution_is_set_beside_its_model() -> None:
    row = {
        "x": [64, 64, 56, 56], "w": [64, 64, 3, 3], "stride": [1, 1], "dilation": [1, 1], "dtype": "torch.float32",
        "search": False, "forward": [0, 0], "input": [0, 0], "weight": [1 << 20, 1 << 20],
    }  # fmt: skip
    (found,) = compared.convolutions([row])
    assert found["measured_mib"]["weight"] == 1.0
    assert found["predicted_mib"][0] == pytest.approx(98.1, abs=0.2)
