"""Masks, indices, reductions and shapes, with known and unknown values."""
# ruff: noqa: E501 - tables, one case a line
# mypy: allow-untyped-calls, allow-untyped-decorators, no-warn-unreachable
# mypy: disable-error-code="attr-defined,union-attr,operator,index,no-any-return,arg-type,misc,call-overload,call-arg"

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from trainworthy.virtual.gpu import VirtualGpu

CUDA = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _on_gpu(gpu: VirtualGpu) -> None:
    """Run every test of this file on the virtual GPU."""


def r(*shape: int, grad: bool = False) -> torch.Tensor:
    return torch.randn(*shape, device="cuda", requires_grad=grad)


def index(high: int, *shape: int) -> torch.Tensor:
    return torch.randint(0, high, shape, device="cuda")


def test_masks_known_and_unknown(gpu: VirtualGpu) -> None:
    known = torch.tensor([True, False, True, True]).cuda()
    x = r(4, 3, grad=True)
    assert x[known].shape == (3, 3)
    assert torch.masked_select(x, known[:, None]).shape == (9,)
    assert not gpu.assumptions
    unknown = x > 0
    assert x[unknown].shape == (12,)
    assert x[unknown[:, 0]].shape == (4, 3)
    assert gpu.assumptions
    x[unknown].sum().backward()
    assert x.grad.shape == (4, 3)
    y = r(4, 3)
    y[known] = 0
    y[y > 1] = 1.0
    y[known, 1] = r(3)
    y[:, 0] += 1
    y[index(4, 2)] = r(2, 3)
    y[..., None][0] = 2
    assert y.masked_fill(unknown, float("-inf")).shape == (4, 3)
    assert torch.where(unknown, y, 0.0).shape == (4, 3)
    assert torch.where(known)[0].tolist() == [0, 2, 3]
    assert known.nonzero().shape == (3, 1)
    assert known.nonzero(as_tuple=True)[0].tolist() == [0, 2, 3]
    assert y.masked_scatter(unknown, r(12)).shape == (4, 3)


def test_labels_select_the_true_number_of_rows() -> None:
    labels = torch.tensor([3, -100, 2, -100, 1]).to("cuda", non_blocking=True)
    logits = r(5, 7, grad=True)
    keep = labels != -100
    assert logits[keep].shape == (3, 7)
    assert keep.sum().item() == 3
    assert labels[keep].tolist() == [3, 2, 1]
    loss = F.cross_entropy(logits[keep], labels[keep])
    loss.backward()
    assert torch.bincount(labels.clamp(min=0), minlength=4).tolist() == [2, 1, 1, 1]
    assert F.one_hot(labels.clamp(min=0), 4).shape == (5, 4)
    assert F.one_hot(labels.clamp(min=0)).shape == (5, 4)
    assert torch.unique(labels).shape == (4,)


def test_gather_and_scatter() -> None:
    x, i = r(4, 6, grad=True), index(6, 4, 2)
    x.gather(1, i).sum().backward()
    y = torch.zeros(4, 6, device="cuda")
    for out in (y.scatter(1, i, r(4, 2)), y.scatter_(1, i, 1.0), y.scatter_add(1, i, r(4, 2)),
                y.scatter_reduce(1, i, r(4, 2), reduce="amax"), y.index_add(0, index(4, 2), r(2, 6)),
                y.index_copy(0, index(4, 2), r(2, 6)), y.index_fill(0, index(4, 2), 1), torch.take_along_dim(y, i, 1).repeat(1, 3),
                y.index_select(0, index(4, 4)), torch.index_put(y, (index(4, 2), index(6, 2)), r(2), accumulate=True),
                torch.take(y, index(24, 4, 6)), y.put(index(24, 2), r(2)), y.select_scatter(r(6), 0, 1)):  # fmt: skip
        assert out.shape == (4, 6)
        assert out.device == CUDA
    assert x.grad.shape == x.shape


def test_sorting_and_reductions() -> None:
    x = r(4, 6, grad=True)
    values, positions = x.topk(3)
    assert (values.shape, positions.dtype) == ((4, 3), torch.int64)
    values.sum().backward()
    for out in (x.sort(dim=1)[0], x.argsort(dim=1), x.cumsum(1), x.msort(), x.cummax(1)[0], x.flip(0)):
        assert out.shape == (4, 6)
    for out in (x.max(1)[0], x.min(1).values, x.argmax(1), x.median(1).values, x.kthvalue(2, 1)[0], x.mode(1)[0], x.std(1),
                x.var(1), x.logsumexp(1), x.norm(dim=1), x.quantile(0.5, 1), x.amax(1), x.all(1), x.any(1), x.nanmean(1)):  # fmt: skip
        assert out.shape == (4,)
        assert out.device == CUDA
    x.max(1)[0].sum().backward()
    x.median(1)[0].sum().backward()
    x.kthvalue(2, 1)[0].sum().backward()
    assert torch.unique(index(9, 10)).dim() == 1
    assert torch.unique(index(9, 10), return_inverse=True, return_counts=True)[1].shape == (10,)
    assert torch.unique_consecutive(index(9, 10)).dim() == 1
    assert torch.histc(x, 5).shape == (5,)
    assert torch.searchsorted(r(6), r(3)).shape == (3,)
    assert torch.bucketize(r(3), r(6)).dtype is torch.int64
    assert torch.multinomial(x.softmax(1), 2).shape == (4, 2)
    assert torch.combinations(torch.arange(4).cuda()).shape == (6, 2)
    assert torch.repeat_interleave(x, torch.tensor([1, 2, 3, 0]).cuda(), dim=0).shape == (6, 6)
    assert torch.repeat_interleave(x, 2, dim=0).shape == (8, 6)
    assert torch.diff(x).shape == (4, 5)
    assert torch.cdist(x, r(5, 6)).shape == (4, 5)
    assert torch.isin(index(9, 4), index(9, 2)).shape == (4,)
    assert torch.aminmax(x).max.shape == ()
    assert torch.tril(x).triu().shape == (4, 6)


def test_einsum_and_products() -> None:
    q, k = r(2, 3, 4, 5, grad=True), r(2, 6, 4, 5)
    out = torch.einsum("bqhd,bkhd->bhqk", q, k)
    assert out.shape == (2, 4, 3, 6)
    out.sum().backward()
    assert torch.einsum("i,j->ij", r(3), r(4)).shape == (3, 4)
    assert torch.einsum("...ij->...ji", q).shape == (2, 3, 5, 4)
    assert torch.tensordot(q, k, dims=([3], [3])).shape == (2, 3, 4, 2, 6, 4)
    assert torch.outer(r(3), r(4)).shape == (3, 4)
    assert (r(2, 3, 4) @ r(4, 5)).shape == (2, 3, 5)
    assert torch.baddbmm(r(2, 3, 5), r(2, 3, 4), r(2, 4, 5), beta=0.5).shape == (2, 3, 5)


def test_shapes_of_everyday_operations() -> None:
    x = r(2, 3, 4)
    assert torch.cat([x, x], dim=-1).shape == (2, 3, 8)
    assert torch.stack([x, x], 1).shape == (2, 2, 3, 4)
    assert [c.shape[1] for c in x.split([1, 2], 1)] == [1, 2]
    assert len(x.unbind(1)) == 3
    assert x.transpose(1, 2).contiguous().view(2, -1).shape == (2, 12)
    assert x.expand(5, -1, -1, -1).shape == (5, 2, 3, 4)
    assert x.repeat(2, 1, 1).tile((1, 2, 1)).shape == (4, 6, 4)
    assert torch.hstack([x, x]).shape == (2, 6, 4)
    assert torch.broadcast_to(x, (7, 2, 3, 4)).shape == (7, 2, 3, 4)
    assert torch.nn.functional.pad(x, (1, 1)).shape == (2, 3, 6)
    assert x.new_zeros(2).shape == (2,)
    assert torch.clamp(x, -1, 1).round().sign().abs().shape == x.shape
    assert (x > 0).logical_and(x < 1).float().mean().shape == ()
    assert x.swapaxes(0, 1).moveaxis(0, 2).shape == (2, 4, 3)
    assert torch.lerp(x, x, 0.5).addcmul(x, x).shape == x.shape
    assert torch.nan_to_num(x).masked_fill(x.isnan(), 0).shape == x.shape
    assert torch.vmap(lambda a: a * 2)(x).shape == x.shape
    assert x.bernoulli().uniform_().exponential_().normal_().shape == x.shape
    assert torch.bernoulli(x.sigmoid()).shape == torch.poisson(x.exp()).shape == x.shape
    assert torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)], layout=torch.jagged).size(0) == 2
