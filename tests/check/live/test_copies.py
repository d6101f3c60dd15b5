"""A machine whose copies lose data is told; one that works is not. Pairs of GPUs are pretended."""

from __future__ import annotations

import torch

from trainworthy.check.finding import Place
from trainworthy.check.live.copies import copy_faults

PLACE = Place("train.py", 1)
DEVICES = [torch.device("cpu", 0), torch.device("cpu", 1), torch.device("cpu", 2)]


def test_each_pair_that_loses_something_is_named() -> None:
    def copy(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
        moved = tensor.clone()
        if device.index == 2:
            moved[:3] = 0
        return moved

    faults = copy_faults(DEVICES, PLACE, copy)
    assert [(f.source, f.target, f.wrong) for f in faults] == [("cpu:0", "cpu:2", 3), ("cpu:1", "cpu:2", 3)]


def test_a_sound_machine_and_a_single_device_give_nothing() -> None:
    assert copy_faults(DEVICES, PLACE, lambda tensor, device: tensor.clone()) == []
    assert copy_faults(DEVICES[:1], PLACE) == []


def test_a_copy_that_is_refused_is_not_a_fault() -> None:
    def refuse(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
        raise RuntimeError("peer access is not supported")

    assert copy_faults(DEVICES, PLACE, refuse) == []
