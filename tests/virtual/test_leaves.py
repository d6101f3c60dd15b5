"""Real tensors beside virtual parameters: leaves, in-place targets, inputs of recurrent layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd import Variable

from trainworthy.virtual.gpu import VirtualGpu
from trainworthy.virtual.tensors import is_virtual

pytestmark = pytest.mark.usefixtures("gpu")


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.ones(2, 5, requires_grad=True),
        lambda: torch.tensor([[1.0] * 5] * 2, requires_grad=True),
        lambda: torch.ones(2, 5).requires_grad_(),
        lambda: Variable(torch.ones(2, 5), requires_grad=True),
    ],
)
def test_a_leaf_beside_a_parameter_gets_its_gradient(make: object) -> None:
    leaf = make()  # type: ignore[operator]
    layer = nn.Linear(5, 3)
    layer(leaf).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.shape == (2, 5)
    assert leaf.device.type == "cpu"
    assert leaf.tolist() == [[1.0] * 5] * 2


def test_requires_grad_as_an_attribute() -> None:
    leaf = torch.zeros(3)
    leaf.requires_grad = True
    (leaf * nn.Parameter(torch.ones(3))).sum().backward()
    assert leaf.grad is not None


def test_virtual_results_written_into_real_tensors_keep_their_gradient() -> None:
    layer = nn.Linear(4, 1)
    total = torch.zeros(1)
    total += layer(torch.rand(2, 4)).sum()
    scores = torch.zeros(5)
    for i in range(5):
        scores[i] = layer(torch.rand(4)).squeeze()
    part = torch.zeros(3, 1)
    part[1:].copy_(layer(torch.rand(2, 4)))
    (total.sum() + scores.view(1, 1, 5).bmm(torch.rand(1, 5, 1)).sum() + part.sum()).backward()
    assert part.requires_grad
    assert layer.weight.grad is not None


def test_real_tensors_alone_stay_real() -> None:
    total = torch.zeros(1)
    total += torch.ones(1)
    assert not is_virtual(total)
    assert total.item() == 1


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_recurrent_layer_on_the_cpu_takes_a_real_batch(kind: type[nn.RNN]) -> None:
    layer = kind(5, 6, batch_first=True)
    state = torch.zeros(1, 2, 6)
    out, _ = layer(torch.rand(2, 7, 5), (state, state.clone()) if kind.__name__ == "LSTM" else state)
    out.sum().backward()
    assert out.shape == (2, 7, 6)
    assert layer.weight_ih_l0.grad is not None


def test_data_parallel_on_one_gpu() -> None:
    layer = nn.DataParallel(nn.Linear(4, 4)).cuda()
    out = layer(torch.rand(8, 4))
    out.sum().backward()
    assert out.device == torch.device("cuda", 0)
    assert layer.module.weight.grad is not None


def test_a_device_by_number() -> None:
    layer = nn.Linear(2, 2)
    assert next(layer.to(0).parameters()).is_cuda
    assert next(nn.Linear(2, 2).to(device=0).parameters()).is_cuda


@pytest.mark.filterwarnings("ignore:torch.set_default_tensor_type")
def test_legacy_constructor_under_a_default_tensor_type() -> None:
    torch.set_default_tensor_type("torch.cuda.FloatTensor")
    assert torch.Tensor([1.0]).is_cuda
    torch.set_default_tensor_type("torch.FloatTensor")
    assert not torch.Tensor([1.0]).is_cuda


def test_an_index_given_as_a_list() -> None:
    x = torch.rand(2, 10, device="cuda")
    best, _ = x.topk(3)
    assert best[:, [-1]].shape == (2, 1)
    x[[0, 1]] = 2.0


def test_topk_positions_are_not_all_zero() -> None:
    _, positions = torch.rand(9, 3000, device="cuda").topk(2)
    assert set(positions.flatten().tolist()) == {1}


def test_constructor_is_restored(gpu: VirtualGpu) -> None:
    assert "__new__" not in vars(torch.Tensor)
