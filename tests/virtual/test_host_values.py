"""What a script does with values: item, prints, NumPy, saving, loading, data loaders."""
# mypy: allow-untyped-calls, allow-untyped-decorators, no-warn-unreachable
# mypy: disable-error-code="attr-defined,union-attr,operator,index,no-any-return,arg-type,misc,call-overload,call-arg"

from __future__ import annotations

import copy
import io
import math
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, random_split

from trainworthy.virtual.gpu import VirtualGpu

CUDA = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _on_gpu(gpu: VirtualGpu) -> None:
    """Run every test of this file on the virtual GPU."""


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 4)).cuda()


def loss() -> torch.Tensor:
    return net()(torch.randn(2, 8, device="cuda")).pow(2).mean()


# --- reading values -------------------------------------------------------------------------------


def test_probabilities_add_up_to_one() -> None:
    logits = nn.Linear(8, 5).cuda()(torch.randn(3, 8, device="cuda"))
    probabilities = logits.softmax(-1).detach().cpu().numpy()
    assert np.allclose(probabilities.sum(-1), 1.0)
    assert np.random.default_rng(0).choice(5, p=probabilities[1]) in range(5)


def test_arrays_for_numpy_have_a_spread(gpu: VirtualGpu) -> None:
    features = nn.Linear(8, 40).cuda()(torch.randn(30, 8, device="cuda")).detach().cpu().numpy()
    assert len(np.unique(features)) == features.size
    assert np.linalg.matrix_rank(features) > 1
    assert abs(features.mean() - 1) < 0.01
    assert np.array_equal(features, np.clip(features, 0.5, 1.5))
    assert any("numbers around 1" in text for text in gpu.assumptions)
    few = nn.Linear(8, 4).cuda()(torch.randn(2, 8, device="cuda")).detach().cpu().numpy()
    assert np.array_equal(few, np.ones((2, 4)))


def test_item_policies(gpu: VirtualGpu) -> None:
    value = loss()
    assert value.item() == float(value.detach()) == 1.0
    assert isinstance(value.item(), float)
    assert int(torch.randn(1, device="cuda").argmax()) == 0
    assert isinstance((value > 0).item(), bool)
    assert not bool(value > 3)
    assert not torch.isnan(value)
    assert not torch.isnan(value).any()
    assert torch.isfinite(value).all()
    assert torch.isfinite(value)
    assert not value.isinf().item()
    assert torch.allclose(value, value)
    assert torch.equal(value, value)
    assert math.isfinite(value.detach())
    assert math.exp(value.item()) < 3
    assert round(value.item(), 2) == 1.0
    assert max(0.0, value.item()) == 1.0
    assert value.detach().cpu().numpy() == 1.0
    assert complex(value.detach()) == 1 + 0j
    reads = [op for op in gpu.tape().ops if op.name == "_local_scalar_dense"]
    assert len(reads) >= 10
    assert all(op.host_syncs == 1 for op in reads if op.inputs[0].device == "cuda:0")
    assert any("read from the device" in text for text in gpu.assumptions)


def test_known_values_survive_arithmetic() -> None:
    step = torch.zeros((), dtype=torch.int64, device="cuda")
    for _ in range(3):
        step += 1
    assert step.item() == 3
    lengths = torch.tensor([3, 5]).cuda()
    assert lengths.max().item() == 5
    assert lengths.tolist() == [3, 5]
    mask = torch.arange(5, device="cuda")[None] < lengths[:, None]
    assert mask.sum().item() == 8
    assert (~mask).sum(1).tolist() == [2, 0]
    total = torch.tensor(0.0).cuda()
    total += 2
    assert total.item() == 2.0
    assert torch.tensor([1.0, 2.0]).cuda().mean().item() == 1.5


def test_comparison_and_control_flow() -> None:
    best, value = float("inf"), loss()
    if value < best:
        best = value.item()
    assert best in {1.0, float("inf")}
    correct = (torch.randn(8, 4, device="cuda").argmax(1) == torch.zeros(8, dtype=torch.long).cuda()).sum()
    assert 0 <= correct.item() / 8 <= 1
    assert len(torch.randn(3, 2, device="cuda")) == 3
    assert [row.shape for row in torch.randn(3, 2, device="cuda")] == [(2,)] * 3
    assert torch.zeros(0, device="cuda").numel() == 0
    assert value is not None
    assert (value in [value]) is True
    assert hash(value) == hash(value)
    assert {value: 1}[value] == 1


def test_printing(gpu: VirtualGpu, capsys: pytest.CaptureFixture[str]) -> None:
    value, matrix = loss(), torch.randn(3, 4, device="cuda", dtype=torch.float16)
    assert f"{value:.4f}" == "1.0000"
    assert f"{value.item():>10.3e}" == " 1.000e+00"
    assert f"{value}" == "1.0"
    assert "%.2f" % value.detach() == "1.00"  # noqa: UP031 - scripts do
    assert f"{value:.2f}" == "1.00"
    print(value, matrix, net())
    out = capsys.readouterr().out
    assert "tensor(1., device='cuda:0', grad_fn=<MeanBackward0>)" in out
    assert "tensor(..., device='cuda:0', size=(3, 4), dtype=torch.float16)" in out
    assert "(0): Linear(in_features=8, out_features=16, bias=True)" in out
    assert repr(torch.arange(3).cuda()) == "tensor([0, 1, 2], device='cuda:0')"
    assert repr(nn.Parameter(torch.zeros(2)).cuda()).startswith("tensor(")
    assert repr(nn.Parameter(torch.zeros(2))) == "Parameter containing:\ntensor([0., 0.], requires_grad=True)"
    assert str(torch.zeros(1).cuda().device) == "cuda:0"
    assert "cuda:0" in str({"loss": value.detach()})
    assert str(matrix.shape) == "torch.Size([3, 4])"
    assert gpu.assumptions


def test_tqdm() -> None:
    tqdm = pytest.importorskip("tqdm")
    out = io.StringIO()
    with tqdm.tqdm(range(2), file=out) as bar:
        for _ in bar:
            bar.set_postfix(loss=loss().item(), raw=loss().detach())
            bar.set_description(f"loss {loss():.3f}")
    assert "loss=1" in out.getvalue()


def test_numpy() -> None:
    x = torch.randn(3, 4, device="cuda")
    with pytest.raises(TypeError, match=r"can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu\(\)"):
        x.numpy()
    with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
        np.asarray(x)
    assert x.cpu().numpy().shape == (3, 4)
    assert np.asarray(x.cpu()).dtype == np.float32
    assert x.detach().cpu().numpy().mean() == 1.0
    assert x.numpy(force=True).shape == (3, 4)
    assert np.array([v.item() for v in x.flatten()]).shape == (12,)
    w = torch.randn(3, device="cuda", requires_grad=True)
    with pytest.raises(RuntimeError, match=r"Can't call numpy\(\) on Tensor that requires grad"):
        w.cpu().numpy()
    assert torch.from_numpy(x.cpu().numpy()).cuda().device == CUDA
    assert x.tolist()[0][0] == 1.0
    assert np.float32(x.cpu()[0, 0]) == 1.0
    assert x.cpu().numpy().argmax() == 0
    predictions = torch.cat([x.argmax(1).cpu() for _ in range(2)]).numpy()
    assert predictions.tolist() == [0] * 6


# --- saving and loading ---------------------------------------------------------------------------


@pytest.mark.parametrize("weights_only", [True, False])
def test_checkpoint_round_trip(tmp_path: Path, weights_only: bool) -> None:
    model = net()
    optimizer = torch.optim.AdamW(model.parameters())
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    scaler = torch.amp.GradScaler("cuda")
    model(torch.randn(2, 8, device="cuda")).mean().backward()
    optimizer.step()
    scheduler.step()
    path = tmp_path / "checkpoint.pt"
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict(),
                "scaler": scaler.state_dict(), "epoch": 3, "loss": loss().detach(), "rng": torch.get_rng_state(),
                "cuda_rng": torch.cuda.get_rng_state_all()}, path)  # fmt: skip
    for location, kind in ((None, "cuda"), ("cpu", "cpu"), ("cuda", "cuda"), (CUDA, "cuda"),
                           (lambda storage, where: storage, "cpu"), ({"cuda:0": "cpu"}, "cpu")):  # fmt: skip
        loaded = torch.load(path, map_location=location, weights_only=weights_only)
        assert loaded["model"]["0.weight"].device.type == kind
        assert loaded["epoch"] == 3
    loaded = torch.load(path, weights_only=weights_only)
    fresh = net()
    assert str(fresh.load_state_dict(loaded["model"])) == "<All keys matched successfully>"
    optimizer.load_state_dict(loaded["optimizer"])
    scheduler.load_state_dict(loaded["scheduler"])
    scaler.load_state_dict(loaded["scaler"])
    torch.set_rng_state(loaded["rng"].cpu())
    torch.cuda.set_rng_state_all(loaded["cuda_rng"])
    assert loaded["model"]["1.num_batches_tracked"].item() == 1
    with pytest.raises(RuntimeError, match=r"size mismatch for 0\.weight"):
        nn.Sequential(nn.Linear(4, 4)).load_state_dict(loaded["model"], strict=False)
    with pytest.raises(RuntimeError, match="Missing key"):
        nn.Linear(8, 4).load_state_dict(loaded["model"])


def test_whole_modules_and_pickles(tmp_path: Path) -> None:
    model = net()
    torch.save(model, tmp_path / "model.pt")
    loaded = torch.load(tmp_path / "model.pt", weights_only=False)
    assert isinstance(loaded[0], nn.Linear)
    assert loaded[0].weight.device == CUDA
    assert isinstance(loaded[0].weight, nn.Parameter)
    copied = pickle.loads(pickle.dumps(model.state_dict()))
    assert copied["0.weight"].device == CUDA
    assert copy.deepcopy(model)[0].weight.requires_grad
    with io.BytesIO() as buffer:
        torch.save(model.state_dict(), buffer)
        buffer.seek(0)
        assert set(torch.load(buffer)) == set(model.state_dict())
    real = {"x": torch.arange(3.0)}
    torch.save(real, tmp_path / "real.pt")
    assert torch.load(tmp_path / "real.pt", map_location="cuda")["x"].tolist() == [0.0, 1.0, 2.0]
    assert torch.load(tmp_path / "real.pt", mmap=True)["x"].device.type == "cpu"


def test_checkpoint_from_the_real_world(tmp_path: Path, gpu: VirtualGpu) -> None:
    state = {"weight": torch.randn(4, 8), "bias": torch.zeros(4)}
    torch.save(state, tmp_path / "w.pt")
    layer = nn.Linear(8, 4)
    layer.load_state_dict(torch.load(tmp_path / "w.pt", map_location="cpu", weights_only=True))
    layer.cuda().load_state_dict(torch.load(tmp_path / "w.pt", map_location="cuda"))
    assert layer.weight.device == CUDA
    assert layer.bias.tolist() == [0.0] * 4
    layer.load_state_dict(torch.load(tmp_path / "w.pt"), assign=True)
    assert layer.weight.device.type == "cpu"
    assert gpu.recorder.ledger.records


# --- data -----------------------------------------------------------------------------------------


class Squares(Dataset[tuple[torch.Tensor, int]]):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return torch.full((3,), float(i)), i


class Stream(IterableDataset[torch.Tensor]):
    def __iter__(self) -> Iterator[torch.Tensor]:
        info = torch.utils.data.get_worker_info()
        start = info.id if info else 0
        yield from (torch.full((2,), float(i)) for i in range(start, 6, info.num_workers if info else 1))


class OnGpu(Squares):
    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return torch.zeros(3, device="cuda"), i


def collate(items: list[tuple[torch.Tensor, int]]) -> dict[str, torch.Tensor]:
    return {"x": torch.stack([x for x, _ in items]), "y": torch.tensor([y for _, y in items])}


@pytest.mark.parametrize("workers", [0, 2])
def test_loaders(workers: int) -> None:
    torch.zeros(1, device="cuda")
    options = {"num_workers": workers, "pin_memory": True, "persistent_workers": workers > 0}
    loader = DataLoader(Squares(), batch_size=4, shuffle=False, drop_last=True, collate_fn=collate, **options)
    for _ in range(2):
        seen = []
        for batch in loader:
            assert batch["x"].is_pinned()
            x = batch["x"].to("cuda", non_blocking=True)
            assert (x.device, tuple(x.shape)) == (CUDA, (4, 3))
            seen += batch["y"].cuda().tolist()
        assert seen == list(range(8))
    streamed = list(DataLoader(Stream(), batch_size=2, num_workers=workers))
    assert sorted(v for b in streamed for v in b[:, 0].tolist()) == [0, 1, 2, 3, 4, 5]


def test_no_cuda_in_a_forked_worker() -> None:
    torch.zeros(1, device="cuda")
    batches = iter(DataLoader(OnGpu(), batch_size=2, num_workers=1))
    with pytest.raises(RuntimeError, match="Cannot re-initialize CUDA in forked subprocess"):
        next(batches)
    batches._shutdown_workers()
    assert next(iter(DataLoader(OnGpu(), batch_size=2)))[0].device == CUDA


def test_tensor_datasets_and_samplers() -> None:
    data = TensorDataset(torch.arange(12.0).reshape(6, 2), torch.arange(6))
    train, test = random_split(data, [4, 2], generator=torch.Generator().manual_seed(0))
    assert (len(train), len(test)) == (4, 2)
    sampler = torch.utils.data.WeightedRandomSampler([1.0] * 6, 6)
    for x, y in DataLoader(data, batch_size=3, sampler=sampler, generator=torch.Generator()):
        assert x.cuda().shape == (3, 2)
        assert y.cuda().dtype is torch.int64
    on_gpu = TensorDataset(torch.randn(6, 2, device="cuda"), torch.arange(6, device="cuda"))
    assert [x.device for x, _ in DataLoader(on_gpu, batch_size=3, shuffle=True)] == [CUDA, CUDA]
