"""The habits of PyTorch of 2020, on the virtual GPU."""

from __future__ import annotations

import pytest
import torch
from benchmarks.memory_programs import Gnmt, NeuMf, TransformerXl
from benchmarks.memory_programs_speech import WaveNet
from benchmarks.profile_memory import with_memory
from torch import Tensor

from benchmarks import memory_legacy as legacy
from trainworthy.hardware import gpu_row
from trainworthy.virtual.gpu import VirtualGpu

MIB = 1 << 20


def _made() -> Tensor:
    """Return 1 MiB that nothing else holds, with a history."""
    return torch.zeros(512, 512, device="cuda", requires_grad=True) * 2


def test_softmax_and_relu_keep_their_inputs() -> None:
    with VirtualGpu(gpu_row("v100-sxm2-32gb")):
        for today, then in (
            (lambda x: torch.softmax(x, -1), lambda x: legacy.softmax(x, -1)),
            (lambda x: torch.log_softmax(x, -1), lambda x: legacy.log_softmax(x, -1)),
            (torch.relu, legacy.relu),
        ):
            used = []
            for call in (today, then):
                before = torch.cuda.memory_allocated()
                y = call(_made())
                used.append(torch.cuda.memory_allocated() - before)
                y.sum().backward()
                del y
            assert used[1] - used[0] == MIB


def test_what_torchscript_kept_outlives_the_backward_pass() -> None:
    with VirtualGpu(gpu_row("v100-sxm2-32gb")):
        one = torch.zeros(4, 128, 1024, device="cuda", requires_grad=True)
        y = legacy.gate(one * 1, one * 1, 64)
        loss = y.sum()
        del y
        before = torch.cuda.memory_allocated()
        loss.backward()
        assert torch.cuda.memory_allocated() - before == 2 * MIB  # the gradient; tanh and sigmoid are still there
        with_graph = torch.cuda.memory_allocated()
        del loss
        assert with_graph - torch.cuda.memory_allocated() >= 2 * MIB


@pytest.mark.parametrize("precision", ["fp32", "O1", "O2"])
def test_a_step_of_each_program_runs(precision: legacy.Precision) -> None:
    half = torch.float16 if precision == "O2" else torch.float32
    with VirtualGpu(gpu_row("v100-sxm2-32gb")):
        model = TransformerXl(layers=1, width=64, heads=1, feed=64, dropout=0.1, dropped_weights=0.1).cuda()
        trainer = legacy.Trainer(model, legacy.JitLamb, precision=precision)
        ids = torch.zeros(8, 2, dtype=torch.long, device="cuda")
        memory = torch.empty(1, 0, 2, 64, device="cuda", dtype=half)
        for _ in range(2):
            trainer.zero_grad()
            with trainer.autocast():
                loss, memory = model(ids, ids, memory)
            trainer.backward(loss.float().mean())
            trainer.step()
        assert loss.shape == (8, 2)
        assert Gnmt(32, 64).cuda()(ids, ids[:-1]).shape == (7, 2, 64)
        assert NeuMf(10, 10).cuda()(ids[0], ids[1]).shape == (2, 1)
        spread = torch.zeros(2, 10, 640, device="cuda").transpose(1, 2)
        assert WaveNet(4, 16, 2).cuda()(torch.zeros(2, 4, 10, device="cuda"), spread).shape == (2, 8, 10)


def test_a_profile_gets_its_memory_once() -> None:
    text = with_memory('{"model":"m","variants":{}}', {"train-amp": [[1, 2, 3]]})
    again = with_memory(text, {"train-amp": [[4, 5, 6]]})
    assert again == '{"model":"m","memory":{"train-amp":[[4,5,6]]},"variants":{}}'
