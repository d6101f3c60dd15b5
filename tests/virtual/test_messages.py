"""Mistakes of device, dtype and shape raise what CUDA raises."""
# ruff: noqa: E501 - tables, one case a line
# mypy: allow-untyped-calls, allow-untyped-decorators, no-warn-unreachable
# mypy: disable-error-code="attr-defined,union-attr,operator,index,no-any-return,arg-type,misc,call-overload,call-arg"

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trainworthy.virtual.gpu import VirtualGpu


@pytest.fixture(autouse=True)
def _on_gpu(gpu: VirtualGpu) -> None:
    """Run every test of this file on the virtual GPU."""


def r(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.ones(*shape, device="cuda", dtype=dtype)


def c(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.ones(*shape, dtype=dtype)


def i(*shape: int) -> torch.Tensor:
    return torch.zeros(*shape, dtype=torch.int64, device="cuda")


SAME = "Expected all tensors to be on the same device, but "
TWO = f"{SAME}found at least two devices, cuda:0 and cpu!"
DEVICE: dict[str, tuple[Callable[[], Any], str]] = {
    "add": (lambda: r(3) + c(3), TWO), "mul_": (lambda: r(3).mul_(c(3)), TWO), "sub": (lambda: c(3) - r(3), TWO),
    "where": (lambda: torch.where(r(3) > 0, c(3), r(3)), SAME),
    "cat": (lambda: torch.cat([r(3), c(3)]), f"{SAME}got tensors is on cpu, different from other tensors on cuda:0"),
    "stack": (lambda: torch.stack([r(3), c(3)]), f"{SAME}got tensors is on cpu, different from other tensors on cuda:0"),
    "matmul": (lambda: r(2, 3) @ c(3, 4), f"{SAME}got mat2 is on cpu, different from other tensors on cuda:0 (when checking "
               "argument in method wrapper_CUDA_mm)"),
    "linear": (lambda: nn.Linear(3, 4)(r(2, 3)), f"{SAME}got mat1 is on cuda:0"),
    "linear_input": (lambda: nn.Linear(3, 4).cuda()(c(2, 3)), f"{SAME}got mat1 is on cpu, different from other tensors on cuda:0 "
                     "(when checking argument in method wrapper_CUDA_addmm)"),
    "bmm": (lambda: torch.bmm(r(1, 2, 3), c(1, 3, 4)), f"{SAME}got mat2 is on cpu"),
    "embedding": (lambda: nn.Embedding(4, 3).cuda()(torch.zeros(2, dtype=torch.long)), f"{SAME}got index is on cpu, different "
                  "from other tensors on cuda:0 (when checking argument in method wrapper_CUDA__index_select)"),
    "cross_entropy": (lambda: F.cross_entropy(r(2, 3), torch.zeros(2, dtype=torch.long)), f"{SAME}got target is on cpu, different "
                      "from other tensors on cuda:0 (when checking argument in method wrapper_CUDA_nll_loss_forward)"),
    "conv": (lambda: nn.Conv2d(1, 1, 3).cuda()(c(1, 1, 5, 5)), "Input type (torch.FloatTensor) and weight type "
             "(torch.cuda.FloatTensor) should be the same or input should be a MKLDNN tensor and weight is a dense tensor"),
    "conv_weight": (lambda: nn.Conv2d(1, 1, 3)(r(1, 1, 5, 5)), "Input type (torch.cuda.FloatTensor) and weight type "
                    "(torch.FloatTensor) should be the same"),
    "layer_norm": (lambda: nn.LayerNorm(3)(r(2, 3)), f"{SAME}got weight is on cpu, different from other tensors on cuda:0"),
    "batch_norm": (lambda: nn.BatchNorm1d(3)(r(2, 3)), f"{SAME}got weight is on cpu, different from other tensors on cuda:0"),
    "gather": (lambda: r(2, 3).gather(1, torch.zeros(2, 1, dtype=torch.long)), f"{SAME}got index is on cpu, different from other "
               "tensors on cuda:0 (when checking argument in method wrapper_CUDA_gather)"),
    "index_cpu_by_cuda": (lambda: c(4)[i(2)], "indices should be either on cpu or on the same device as the indexed tensor (cpu)"),
    "lstm": (lambda: nn.LSTM(3, 4)(r(2, 1, 3)), "Input and parameter tensors are not at the same device, found input tensor at "
             "cuda:0 and parameter tensor at cpu"),
    "mse": (lambda: F.mse_loss(r(3), c(3)), TWO), "copy_in_optimizer": (lambda: torch.lerp(r(3), c(3), 0.5), TWO),
    "bce": (lambda: F.binary_cross_entropy_with_logits(r(3), c(3)), TWO),
    "scatter": (lambda: r(3).scatter_(0, torch.zeros(1, dtype=torch.long), 1.0), SAME),
    "generator": (lambda: torch.randn(3, device="cuda", generator=torch.Generator()), "Expected a 'cuda' device type for generator "
                  "but found 'cpu'"),
    "generator_cpu": (lambda: torch.randn(3, generator=torch.Generator("cuda")), "Expected a 'cpu' device type for generator but "
                      "found 'cuda'"),
}  # fmt: skip
HALF, BF = torch.float16, torch.bfloat16
DTYPE: dict[str, tuple[Callable[[], Any], str]] = {
    "matmul": (lambda: r(2, 3) @ r(3, 4, dtype=HALF), "expected mat1 and mat2 to have the same dtype, but got: float != c10::Half"),
    "linear": (lambda: nn.Linear(3, 4).cuda()(r(2, 3, dtype=BF)), "mat1 and mat2 must have the same dtype, but got BFloat16 and Float"),
    "linear_double": (lambda: nn.Linear(3, 4).cuda()(r(2, 3).double()), "mat1 and mat2 must have the same dtype, but got Double and Float"),
    "linear_long": (lambda: nn.Linear(3, 4).cuda()(i(2, 3)), "mat1 and mat2 must have the same dtype, but got Long and Float"),
    "bmm": (lambda: torch.bmm(r(1, 2, 3), r(1, 3, 4, dtype=HALF)), "expected scalar type Float but found Half"),
    "conv": (lambda: nn.Conv2d(1, 1, 3).cuda()(r(1, 1, 5, 5, dtype=HALF)), "Input type (c10::Half) and bias type (float) should be "
             "the same"),
    "conv_bytes": (lambda: nn.Conv2d(1, 1, 3, bias=False).cuda()(torch.zeros(1, 1, 5, 5, dtype=torch.uint8).cuda()), "Input type "
                   "(torch.cuda.ByteTensor) and weight type (torch.cuda.FloatTensor) should be the same"),
    "embedding": (lambda: nn.Embedding(4, 3).cuda()(r(2)), "Expected tensor for argument #1 'indices' to have one of the following "
                  "scalar types: Long, Int; but got torch.cuda.FloatTensor instead (while checking arguments for embedding)"),
    "cross_entropy": (lambda: F.cross_entropy(r(2, 3), i(2).int()), "expected scalar type Long but found Int"),
    "grad_of_ints": (lambda: i(3).requires_grad_(), "only Tensors of floating point"),
    "mean_of_ints": (lambda: i(3).mean(), "mean(): could not infer output dtype. Input dtype must be either a floating point or "
                     "complex dtype. Got: Long"),
    "gather": (lambda: r(2, 3).gather(1, r(2, 1)), "gather(): Expected dtype int32/int64 for index"),
    "in_place": (lambda: i(3).add_(r(3)), "result type Float can't be cast to the desired output type Long"),
    "one_hot": (lambda: F.one_hot(r(3)), "one_hot is only applicable to index tensor"),
    "attention": (lambda: F.scaled_dot_product_attention(r(1, 1, 4, 8), r(1, 1, 4, 8, dtype=HALF), r(1, 1, 4, 8)),
                  "Expected query, key, and value to have the same dtype"),
    "index": (lambda: r(3)[r(2)], "tensors used as indices must be long, int, byte or bool tensors"),
    "bitwise": (lambda: r(3) & r(3), 'not implemented for \'Float\''),
    "softmax": (lambda: F.softmax(i(2, 3), 1), 'not implemented for \'Long\''),
}  # fmt: skip
SHAPE: dict[str, tuple[Callable[[], Any], str]] = {
    "matmul": (lambda: r(2, 3) @ r(4, 5), "mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
    "linear": (lambda: nn.Linear(3, 4).cuda()(r(2, 5)), "mat1 and mat2 shapes cannot be multiplied (2x5 and 3x4)"),
    "linear_3d": (lambda: nn.Linear(3, 4).cuda()(r(2, 7, 5)), "mat1 and mat2 shapes cannot be multiplied (14x5 and 3x4)"),
    "add": (lambda: r(2, 3) + r(4), "The size of tensor a (3) must match the size of tensor b (4) at non-singleton dimension 1"),
    "bmm": (lambda: torch.bmm(r(1, 2, 3), r(1, 4, 5)), "Expected size for first two dimensions of batch2 tensor to be: [1, 3] but "
            "got: [1, 4]."),
    "view": (lambda: r(2, 3).view(4), "shape '[4]' is invalid for input of size 6"),
    "view_stride": (lambda: r(2, 3).t().view(6), "view size is not compatible with input tensor's size and stride"),
    "reshape": (lambda: r(2, 3).reshape(-1, 4), "shape '[-1, 4]' is invalid for input of size 6"),
    "cat": (lambda: torch.cat([r(2, 3), r(2, 4)]), "Sizes of tensors must match except in dimension 0. Expected "),
    "stack": (lambda: torch.stack([r(2), r(3)]), "stack expects each tensor to be equal size, but got [2] at entry 0 and [3] at entry 1"),
    "conv": (lambda: nn.Conv2d(3, 8, 3).cuda()(r(1, 4, 9, 9)), "Given groups=1, weight of size [8, 3, 3, 3], expected input[1, 4, 9, 9] "
             "to have 3 channels, but got 4 channels instead"),
    "conv_small": (lambda: nn.Conv2d(3, 8, 3).cuda()(r(1, 3, 2, 2)), "Calculated padded input size per channel: (2 x 2). Kernel size: "
                   "(3 x 3). Kernel size can't be greater than actual input size"),
    "conv_dims": (lambda: nn.Conv2d(3, 8, 3).cuda()(r(3, 3)), "Expected 3D (unbatched) or 4D (batched) input to conv2d, but got input "
                  "of size: [3, 3]"),
    "batch_norm": (lambda: nn.BatchNorm2d(4).cuda()(r(2, 3, 4, 4)), "running_mean should contain 3 elements not 4"),
    "layer_norm": (lambda: nn.LayerNorm(4).cuda()(r(2, 3)), "Given normalized_shape=[4], expected input with shape [*, 4], but got "
                   "input of size[2, 3]"),
    "group_norm": (lambda: nn.GroupNorm(2, 4).cuda()(r(2, 3, 4)), "Expected number of channels in input to be divisible by num_groups"),
    "cross_entropy": (lambda: F.cross_entropy(r(4, 3), i(5)), "Expected input batch_size (4) to match target batch_size (5)."),
    "nll": (lambda: F.nll_loss(r(4, 3), i(5)), "Expected input batch_size (4) to match target batch_size (5)."),
    "bce": (lambda: F.binary_cross_entropy_with_logits(r(4, 1), r(4)), "Target size (torch.Size([4])) must be the same as input size "
            "(torch.Size([4, 1]))"),
    "index": (lambda: r(3)[5], "index 5 is out of bounds for dimension 0 with size 3"),
    "dim": (lambda: r(2, 3).sum(2), "Dimension out of range (expected to be in range of [-2, 1], but got 2)"),
    "transpose": (lambda: r(2, 3).transpose(1, 2), "Dimension out of range (expected to be in range of [-2, 1], but got 2)"),
    "permute": (lambda: r(2, 3).permute(0, 1, 2), "permute(sparse_coo): number of dimensions in the tensor input does not match"),
    "expand": (lambda: r(2, 3).expand(4, 3), "The expanded size of the tensor (4) must match the existing size (2)"),
    "squeeze": (lambda: r(2, 3).unflatten(1, (2, 2)), "unflatten: Provided sizes [2, 2] don't multiply up to the size of dim 1 (3)"),
    "topk": (lambda: r(3).topk(4), "selected index k out of range"),
    "item": (lambda: r(3).item(), "a Tensor with 3 elements cannot be converted to Scalar"),
    "bool": (lambda: bool(r(3)), "Boolean value of Tensor with more than one value is ambiguous"),
    "max_pool": (lambda: F.max_pool2d(r(1, 1, 2, 2), 3), "Output size is too small"),
    "pad": (lambda: F.pad(r(1, 1, 3, 3), (4, 4, 0, 0), mode="reflect"), "Padding size should be less than the corresponding input dimension"),
    "lstm": (lambda: nn.LSTM(3, 4).cuda()(r(2, 1, 5)), "input.size(-1) must be equal to input_size. Expected 3, got 5"),
    "einsum": (lambda: torch.einsum("ij,jk->ik", r(2, 3), r(4, 5)), "einsum(): subscript j has size 4 for operand 1 which does not "
               "broadcast with previously seen size 3"),
    "split": (lambda: r(5).split([2, 2]), "split_with_sizes expects split_sizes to sum exactly to 5"),
    "copy": (lambda: r(3).copy_(r(4)), "The size of tensor a (3) must match the size of tensor b (4)"),
    "set_item": (lambda: r(3, 2).__setitem__(0, r(3)), "expand"),
    "masked": (lambda: r(3)[torch.ones(4, dtype=torch.bool).cuda()], "The shape of the mask [4] at index 0 does not match the shape of "
               "the indexed tensor [3] at index 0"),
    "gather": (lambda: r(2, 3).gather(0, i(2)), "Index tensor must have the same number of dimensions as input tensor"),
    "dot": (lambda: torch.dot(r(3), r(4)), "inconsistent tensor size, expected tensor [3] and src [4] to have the same number of elements"),
    "mv": (lambda: torch.mv(r(2, 3), r(4)), "size mismatch, got input (2), mat (2x3), vec (4)"),
    "attention": (lambda: nn.MultiheadAttention(8, 2).cuda()(r(3, 1, 6), r(3, 1, 6), r(3, 1, 6)), "was expecting embedding dimension of "
                  "8, but got 6"),
}  # fmt: skip


def _check(function: Callable[[], Any], text: str) -> None:
    with pytest.raises((RuntimeError, IndexError, TypeError, ValueError, AssertionError), match=re.escape(text)):
        function()


@pytest.mark.parametrize("name", sorted(DEVICE))
def test_device(name: str) -> None:
    _check(*DEVICE[name])


@pytest.mark.parametrize("name", sorted(DTYPE))
def test_dtype(name: str) -> None:
    _check(*DTYPE[name])


@pytest.mark.parametrize("name", sorted(SHAPE))
def test_shape(name: str) -> None:
    _check(*SHAPE[name])


def test_scalars_may_mix() -> None:
    assert (r(3) * torch.tensor(2.0)).is_cuda
    assert (torch.tensor(2.0) * r(3)).is_cuda
    assert (r(3) + 1).is_cuda
    assert torch.clamp(r(3), max=torch.tensor(0.5)).is_cuda
    assert torch.where(r(3) > 0, torch.tensor(0.0), r(3)).is_cuda
    assert r(4)[torch.tensor([0, 1])].is_cuda  # indices may be on the CPU
    with pytest.raises(RuntimeError, match="same device"):
        c(3) + r(1).squeeze()


def test_promotion_follows_cuda() -> None:
    assert (r(3, dtype=HALF) + r(3)).dtype is torch.float32
    assert (r(3, dtype=HALF) + 1.5).dtype is HALF
    assert (r(3, dtype=HALF) + torch.tensor(1.5)).dtype is HALF
    assert (i(3) / 2).dtype is torch.float32
    assert (i(3) + 1.5).dtype is torch.float32
    assert (r(3, dtype=HALF) * r(3, dtype=BF)).dtype is torch.float32
    assert i(3).bool().sum().dtype is torch.int64
