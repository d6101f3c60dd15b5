"""Layers and operations that models use: recurrent, sparse, complex, vision, losses, indexing."""
# ruff: noqa: E501, PLW0108 - tables, one case a line; layers are made on the virtual GPU
# mypy: allow-untyped-calls, allow-untyped-decorators, no-warn-unreachable
# mypy: disable-error-code="attr-defined,union-attr,operator,index,no-any-return,arg-type,misc,call-overload,call-arg"

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import (
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
    pad_sequence,
    unpad_sequence,
)

from trainworthy.virtual.gpu import VirtualGpu

CUDA = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _on_gpu(gpu: VirtualGpu) -> None:
    """Run every test of this file on the virtual GPU."""


def r(*shape: int, grad: bool = False) -> torch.Tensor:
    return torch.randn(*shape, device="cuda", requires_grad=grad)


def index(high: int, *shape: int) -> torch.Tensor:
    return torch.randint(0, high, shape, device="cuda")


# --- recurrent ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("options", [
    {}, {"num_layers": 2, "dropout": 0.1}, {"bidirectional": True}, {"batch_first": True}, {"bias": False},
])  # fmt: skip
def test_recurrent(gpu: VirtualGpu, kind: type[nn.RNNBase], options: dict[str, object]) -> None:
    layer = kind(8, 16, **options).cuda()
    layer.flatten_parameters()
    out, state = layer(r(5, 3, 8))
    out.sum().backward()
    assert out.shape == (5, 3, 32 if options.get("bidirectional") else 16)
    hidden = state[0] if kind is nn.LSTM else state
    assert hidden.shape[-1] == 16
    assert all(p.grad is not None and p.grad.device == CUDA for p in layer.parameters())
    assert [op.name for op in gpu.tape().ops].count("_cudnn_rnn") == 1
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert layer(r(5, 3, 8))[0].dtype is torch.bfloat16
    layer.eval()
    with torch.no_grad():
        assert layer(r(5, 3, 8))[0].shape == out.shape


def test_lstm_projection_and_states() -> None:
    layer = nn.LSTM(8, 16, proj_size=4, num_layers=2, bidirectional=True).cuda()
    out, (h, c) = layer(r(5, 3, 8))
    out.sum().backward()
    assert (out.shape, h.shape, c.shape) == ((5, 3, 8), (4, 3, 4), (4, 3, 16))
    again, _ = layer(r(5, 3, 8), (h.detach(), c.detach()))
    assert again.shape == (5, 3, 8)
    unbatched, _ = nn.GRU(8, 16).cuda()(r(5, 8))
    assert unbatched.shape == (5, 16)
    with pytest.raises(RuntimeError, match=r"Expected hidden\[0\] size"):
        layer(r(5, 3, 8), (r(1, 3, 4), r(1, 3, 16)))
    with pytest.raises(RuntimeError, match=r"input.size\(-1\) must be equal to input_size"):
        layer(r(5, 3, 9))


@pytest.mark.parametrize("enforce_sorted", [True, False])
def test_packed_sequences(enforce_sorted: bool) -> None:
    x = r(3, 5, 8, grad=True)
    lengths = torch.tensor([5, 3, 2]) if enforce_sorted else torch.tensor([2, 5, 3])
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=enforce_sorted)
    assert packed.data.shape == (10, 8)
    assert packed.data.device == CUDA
    assert packed.batch_sizes.tolist() == [3, 3, 2, 1, 1]
    layer = nn.LSTM(8, 16, batch_first=True, bidirectional=True).cuda()
    out, (h, _) = layer(packed)
    padded, back = pad_packed_sequence(out, batch_first=True)
    assert padded.shape == (3, 5, 32)
    assert back.tolist() == lengths.tolist()
    assert h.shape == (2, 3, 16)
    padded.sum().backward()
    assert x.grad.shape == x.shape
    moved = pack_sequence([torch.ones(3, 8), torch.ones(2, 8)]).to("cuda")
    assert moved.data.device == CUDA
    rows = pad_sequence([r(3, 8), r(2, 8)], batch_first=True, padding_value=-1)
    assert rows.shape == (2, 3, 8)
    assert [u.shape[0] for u in unpad_sequence(rows, torch.tensor([3, 2]), batch_first=True)] == [3, 2]


def test_lengths_that_live_on_the_gpu() -> None:
    lengths = torch.tensor([4, 2]).cuda()
    packed = pack_padded_sequence(r(4, 2, 8), lengths.cpu())
    assert packed.data.shape[0] == 6
    with pytest.raises(RuntimeError, match="'lengths' argument should be a 1D CPU int64 tensor, but got 1D cuda"):
        pack_padded_sequence(r(4, 2, 8), lengths)


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_cells(cell: type[nn.RNNCellBase]) -> None:
    layer = cell(8, 16).cuda()
    state = layer(r(3, 8))
    state = layer(r(3, 8), state)
    h = state[0] if isinstance(state, tuple) else state
    h.sum().backward()
    assert h.shape == (3, 16)
    assert layer.weight_hh.grad is not None


@pytest.mark.parametrize(("cell", "kept"), [(nn.LSTMCell, 14), (nn.GRUCell, 12)])
def test_cells_keep_both_products_of_gates(cell: type[nn.RNNCellBase], kept: int) -> None:
    """An LSTM's products and workspace are four hidden states each, a GRU's three, three and five; and the states."""
    layer = cell(8, 256).cuda()
    x = r(128, 8)
    before = torch.cuda.memory_allocated()
    state = layer(x)
    for _ in range(9):
        state = layer(x, state)
    assert (torch.cuda.memory_allocated() - before) / (10 * 4 * 128 * 256) == pytest.approx(kept, rel=0.02)


# --- sparse ---------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled")
def test_sparse_coo() -> None:
    i, v = torch.tensor([[0, 1, 1], [2, 0, 2]]), torch.tensor([3.0, 4.0, 5.0])
    a = torch.sparse_coo_tensor(i, v, (2, 3)).to("cuda")
    assert a.is_sparse
    assert a.device == CUDA
    assert a.is_cuda
    b = torch.sparse_coo_tensor(i.cuda(), v.cuda().requires_grad_(), (2, 3), device="cuda")
    assert b.device == CUDA
    dense = r(3, 4, grad=True)
    for product in (torch.sparse.mm(b, dense), b @ dense, torch.mm(a, dense), torch.sparse.addmm(r(2, 4), a, dense)):
        assert product.shape == (2, 4)
        assert product.device == CUDA
    torch.sparse.mm(a, dense).sum().backward()
    assert dense.grad.shape == (3, 4)
    a = a.coalesce()
    assert a.is_coalesced()
    assert (a.indices().device, a.values().shape, a._nnz()) == (CUDA, (3,), 3)
    assert a.to_dense().shape == (2, 3)
    assert a.t().shape == (3, 2)
    assert a.cpu().device.type == "cpu"
    assert torch.sparse.sum(a, dim=0).shape == (3,)
    assert r(2, 3).to_sparse().is_sparse
    assert torch.sparse.softmax(a, dim=1).shape == (2, 3)
    assert (a * 2).is_sparse
    assert (a + a).is_sparse
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        torch.sparse.mm(a, r(4, 4))


@pytest.mark.filterwarnings("ignore:Sparse .* tensor support is in beta state")
def test_sparse_csr() -> None:
    crow, col, v = torch.tensor([0, 1, 3]), torch.tensor([2, 0, 2]), torch.tensor([3.0, 4.0, 5.0])
    a = torch.sparse_csr_tensor(crow, col, v, (2, 3)).to("cuda")
    assert a.layout is torch.sparse_csr
    assert a.device == CUDA
    dense = r(3, 4, grad=True)
    (a @ dense).sum().backward()
    assert dense.grad.shape == (3, 4)
    assert a.to_dense().shape == (2, 3)
    assert a.crow_indices().device == CUDA
    assert torch.sparse_csr_tensor(crow.cuda(), col.cuda(), v.cuda(), (2, 3)).device == CUDA
    assert torch.ones(2, 3).to_sparse_csr().cuda().values().shape == (6,)
    assert (a @ r(3)).shape == (2,)


def test_graph_convolution_trains() -> None:
    adjacency = torch.eye(6).to_sparse().cuda()
    layer = nn.Linear(8, 4).cuda()
    optimizer = torch.optim.Adam(layer.parameters())
    out = torch.sparse.mm(adjacency, layer(r(6, 8)))
    F.nll_loss(F.log_softmax(out, 1), index(4, 6)).backward()
    optimizer.step()
    assert layer.weight.grad.shape == (4, 8)


# --- complex and fft ------------------------------------------------------------------------------


def test_complex_and_fft() -> None:
    x = r(2, 3, 8, 8, grad=True)
    spectrum = torch.fft.rfft2(x)
    assert (spectrum.dtype, spectrum.shape) == (torch.complex64, (2, 3, 8, 5))
    w = nn.Parameter(torch.randn(3, 4, 8, 5, dtype=torch.cfloat, device="cuda"))
    out = torch.fft.irfft2(torch.einsum("bixy,ioxy->boxy", spectrum, w), s=(8, 8))
    out.sum().backward()
    assert w.grad.dtype is torch.complex64
    assert x.grad.shape == x.shape
    z = torch.complex(r(3), r(3))
    assert z.abs().dtype is torch.float32
    assert z.conj().real.device == CUDA
    assert torch.view_as_real(z).shape == (3, 2)
    assert torch.view_as_complex(r(3, 2)).dtype is torch.complex64
    assert torch.polar(r(3), r(3)).angle().shape == (3,)
    assert torch.fft.fftshift(torch.fft.fft(z)).shape == (3,)
    assert torch.stft(r(1, 64), 16, window=torch.hann_window(16, device="cuda"), return_complex=True).shape == (
        1,
        9,
        17,
    )
    assert (z * 2j).resolve_conj().is_complex()
    assert (z.conj() @ z).shape == ()
    assert torch.linalg.vector_norm(z).dtype is torch.float32


def test_linear_algebra() -> None:
    a = r(4, 4) @ r(4, 4) + torch.eye(4, device="cuda")
    assert torch.linalg.inv(a).shape == (4, 4)
    assert torch.linalg.svd(r(4, 3, grad=True), full_matrices=False)[0].shape == (4, 3)
    assert torch.linalg.eigh(a)[0].shape == (4,)
    assert torch.linalg.qr(a)[0].device == CUDA
    assert torch.linalg.cholesky(a).shape == (4, 4)
    assert torch.linalg.solve(a, r(4, 2)).shape == (4, 2)
    assert torch.linalg.det(a).shape == ()
    assert torch.linalg.lstsq(r(4, 3), r(4, 2)).solution.shape == (3, 2)
    assert torch.linalg.matrix_rank(a).shape == ()
    assert torch.trace(a).shape == torch.logdet(a).shape == ()
    assert torch.cov(r(3, 5)).shape == torch.corrcoef(r(3, 5)).shape == (3, 3)
    assert torch.block_diag(r(2, 2), r(3, 3)).device == CUDA
    assert torch.kron(r(2, 2), r(2, 2)).shape == (4, 4)


# --- vision ---------------------------------------------------------------------------------------


def test_channels_last() -> None:
    x = r(2, 8, 6, 6).to(memory_format=torch.channels_last)
    assert x.stride() == (288, 1, 48, 8)
    net = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)).cuda()
    net = net.to(memory_format=torch.channels_last)
    y = net(x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert net[0](x).stride() == (576, 1, 96, 16)
    y.sum().backward()
    assert net[0].weight.grad.is_contiguous(memory_format=torch.channels_last)
    assert net[0](x.contiguous()).is_contiguous(memory_format=torch.channels_last)  # cuDNN follows the weight
    assert x.contiguous().stride() == (288, 36, 6, 1)
    v = r(1, 2, 3, 4, 5).to(memory_format=torch.channels_last_3d)
    assert v.is_contiguous(memory_format=torch.channels_last_3d)


VISION: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], tuple[int, ...]]] = {
    "grid_sample": (lambda x: F.grid_sample(x, F.affine_grid(r(2, 2, 3), [2, 4, 5, 5], False), align_corners=False), (2, 4, 5, 5)),
    "bilinear": (lambda x: F.interpolate(x, size=(5, 7), mode="bilinear", align_corners=True), (2, 4, 5, 7)),
    "nearest": (lambda x: nn.Upsample(scale_factor=2)(x), (2, 4, 16, 16)),
    "area": (lambda x: F.interpolate(x, size=(4, 4), mode="area"), (2, 4, 4, 4)),
    "unfold": (lambda x: F.unfold(x, 3, padding=1), (2, 36, 64)),
    "fold": (lambda x: F.fold(F.unfold(x, 2, stride=2), (8, 8), 2, stride=2), (2, 4, 8, 8)),
    "pool_indices": (lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2), (2, 4, 8, 8)),
    "adaptive": (lambda x: F.adaptive_max_pool2d(x, 3), (2, 4, 3, 3)),
    "lp_pool": (lambda x: F.lp_pool2d(x, 2, 2), (2, 4, 4, 4)),
    "avg": (lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True), (2, 4, 5, 5)),
    "fractional": (lambda x: F.fractional_max_pool2d(x, 2, output_size=4), (2, 4, 4, 4)),
    "pixel_shuffle": (lambda x: F.pixel_shuffle(x, 2), (2, 1, 16, 16)),
    "unshuffle": (lambda x: F.pixel_unshuffle(x, 2), (2, 16, 4, 4)),
    "channel_shuffle": (lambda x: F.channel_shuffle(x, 2), (2, 4, 8, 8)),
    "reflect": (lambda x: F.pad(x, (1, 2, 3, 0), mode="reflect"), (2, 4, 11, 11)),
    "replicate": (lambda x: F.pad(x, (1, 1, 1, 1), mode="replicate"), (2, 4, 10, 10)),
    "circular": (lambda x: F.pad(x, (1, 1, 1, 1), mode="circular"), (2, 4, 10, 10)),
    "grouped": (lambda x: nn.Conv2d(4, 8, 3, groups=4, dilation=2, device="cuda")(x), (2, 8, 4, 4)),
    "transposed": (lambda x: nn.ConvTranspose2d(4, 8, 4, 2, 1, device="cuda")(x), (2, 8, 16, 16)),
    "normalize": (lambda x: F.normalize(x, dim=1), (2, 4, 8, 8)), "flip": (lambda x: x.flip(-1).roll(1, 2), (2, 4, 8, 8)),
    "dropout2d": (lambda x: F.dropout2d(x, 0.5), (2, 4, 8, 8)), "rot90": (lambda x: x.rot90(1, (2, 3)), (2, 4, 8, 8)),
    "rrelu": (lambda x: F.rrelu(x, training=True), (2, 4, 8, 8)), "glu": (lambda x: F.glu(x, 1), (2, 2, 8, 8)),
    "local_norm": (lambda x: F.local_response_norm(x, 2), (2, 4, 8, 8)),
    "alpha_dropout": (lambda x: F.alpha_dropout(x, 0.5, True), (2, 4, 8, 8)),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(VISION))
def test_vision(name: str) -> None:
    function, shape = VISION[name]
    x = r(2, 4, 8, 8, grad=True)
    out = function(x)
    assert tuple(out.shape) == shape
    assert out.device == CUDA
    out.sum().backward()
    assert x.grad.shape == x.shape
    assert x.grad.device == CUDA


# --- losses ---------------------------------------------------------------------------------------

LOSSES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "CrossEntropyLoss": lambda x: nn.CrossEntropyLoss(weight=torch.ones(5).cuda(), ignore_index=-100)(x, index(5, 4)),
    "label_smoothing": lambda x: nn.CrossEntropyLoss(label_smoothing=0.1)(x, index(5, 4)),
    "soft_targets": lambda x: nn.CrossEntropyLoss()(x, r(4, 5).softmax(1)), "NLLLoss": lambda x: nn.NLLLoss()(x, index(5, 4)),
    "BCELoss": lambda x: nn.BCELoss()(x.sigmoid(), torch.ones(4, 5).cuda()),
    "BCEWithLogits": lambda x: nn.BCEWithLogitsLoss(pos_weight=torch.ones(5).cuda())(x, torch.ones(4, 5).cuda()),
    "MSELoss": lambda x: nn.MSELoss()(x, r(4, 5)), "L1Loss": lambda x: nn.L1Loss()(x, r(4, 5)),
    "SmoothL1": lambda x: nn.SmoothL1Loss()(x, r(4, 5)), "Huber": lambda x: nn.HuberLoss()(x, r(4, 5)),
    "KLDiv": lambda x: nn.KLDivLoss(reduction="batchmean", log_target=True)(x.log_softmax(1), r(4, 5)),
    "PoissonNLL": lambda x: nn.PoissonNLLLoss()(x, r(4, 5)), "GaussianNLL": lambda x: nn.GaussianNLLLoss()(x, r(4, 5), r(4, 5).exp()),
    "SoftMargin": lambda x: nn.SoftMarginLoss()(x, r(4, 5)), "MultiMargin": lambda x: nn.MultiMarginLoss()(x, index(5, 4)),
    "MultiLabelMargin": lambda x: nn.MultiLabelMarginLoss()(x, index(5, 4, 5)),
    "MultiLabelSoftMargin": lambda x: nn.MultiLabelSoftMarginLoss()(x, torch.ones(4, 5).cuda()),
    "HingeEmbedding": lambda x: nn.HingeEmbeddingLoss()(x, torch.ones(4, 5).cuda()),
    "CosineEmbedding": lambda x: nn.CosineEmbeddingLoss()(x, r(4, 5), torch.ones(4).cuda()),
    "TripletMargin": lambda x: nn.TripletMarginLoss()(x, r(4, 5), r(4, 5)),
    "MarginRanking": lambda x: nn.MarginRankingLoss()(x[:, 0], x[:, 1], torch.ones(4).cuda()),
    "AdaptiveSoftmax": lambda x: nn.AdaptiveLogSoftmaxWithLoss(5, 8, [4], device="cuda")(x, index(4, 4)).loss,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_losses(name: str) -> None:
    x = r(4, 5, grad=True)
    loss = LOSSES[name](x)
    assert loss.shape == ()
    loss.backward()
    assert x.grad.shape == (4, 5)


def test_ctc() -> None:
    log_probs = r(20, 3, 6, grad=True)
    targets = torch.randint(1, 6, (3, 7))
    lengths, target_lengths = torch.full((3,), 20), torch.tensor([7, 5, 3])
    for t, il, tl in ((targets, lengths, target_lengths), (targets.cuda(), lengths.cuda(), target_lengths.cuda()),
                      (targets.flatten()[:15].cuda(), (20, 20, 20), (7, 5, 3))):  # fmt: skip
        loss = nn.CTCLoss(zero_infinity=True)(log_probs.log_softmax(2), t, il, tl)
        loss.backward()
    assert log_probs.grad.shape == (20, 3, 6)
