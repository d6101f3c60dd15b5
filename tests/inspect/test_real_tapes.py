"""The laws of sums hold on tapes of real networks, and their modules are all found."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from trainworthy.hardware import gpu_row
from trainworthy.inspect import module_tree, replay, summarize
from trainworthy.inspect.instances import module_instances
from trainworthy.tape.record import Tape
from trainworthy.virtual.gpu import VirtualGpu
from zoo.classic import vgg
from zoo.inception import googlenet
from zoo.mobile import mobilenet_v2
from zoo.resnet import resnet

_NETS: dict[str, Callable[[], nn.Module]] = {
    "vgg11": lambda: vgg(11, num_classes=10), "resnet50": lambda: resnet(50, num_classes=10),
    "googlenet": lambda: googlenet(10), "mobilenet_v2": lambda: mobilenet_v2(10),
}  # fmt: skip


def rehearsed(build: Callable[[], nn.Module]) -> tuple[Tape, nn.Module]:
    with VirtualGpu(gpu_row("h100-sxm-80gb")) as virtual:
        net = build().to("cuda")
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        for _ in range(2):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(torch.rand(2, 3, 224, 224).cuda()), torch.zeros(2).long().cuda()).backward()
            optimizer.step()
        return virtual.tape(), net


@pytest.mark.parametrize("name", _NETS)
def test_sums_and_modules(name: str) -> None:
    tape, net = rehearsed(_NETS[name])
    result = summarize(tape)
    assert result.parameters == sum(p.numel() for p in net.parameters())
    assert sum(row.amounts.flops for row in result.modules) == result.flops_per_step
    assert sum(row.amounts.moved_bytes for row in result.modules) == result.moved_bytes_per_step
    assert sum(row.parameters for row in result.modules) == result.parameters
    assert sum(result.memory_by_kind_bytes.values()) == result.peak_memory_bytes
    assert module_tree(tape, 2) == result.modules

    classes = {path: type(module).__name__ for path, module in net.named_modules() if path}
    found = {i.path: i.info.class_name for i in module_instances(tape, 2) if i.info is not None}
    wrong = {path: (found.get(path), want) for path, want in classes.items() if path in found and found[path] != want}
    assert not wrong
    with_parameters = {path for path, m in net.named_modules() if path and list(m.parameters(recurse=False))}
    assert with_parameters <= set(found)

    played = replay(tape, workspace_bytes=result.workspace_bytes or 0)
    assert played.peak_reserved_bytes >= played.peak_allocated_bytes >= tape.memory().peak_bytes
