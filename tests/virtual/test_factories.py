"""Making tensors on the device: every factory, constructor and default-device switch of torch."""
# mypy: allow-untyped-calls, allow-untyped-decorators, no-warn-unreachable
# mypy: disable-error-code="attr-defined,union-attr,operator,index,no-any-return,arg-type,misc,call-overload,call-arg"

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from trainworthy.virtual.gpu import VirtualGpu

pytestmark = pytest.mark.usefixtures("gpu")
CUDA = torch.device("cuda", 0)

FACTORIES: dict[str, tuple[Callable[..., torch.Tensor], tuple[int, ...], torch.dtype]] = {
    "zeros": (lambda **k: torch.zeros(2, 3, **k), (2, 3), torch.float32),
    "ones": (lambda **k: torch.ones((2, 3), **k), (2, 3), torch.float32),
    "empty": (lambda **k: torch.empty(2, 3, **k), (2, 3), torch.float32),
    "empty_strided": (lambda **k: torch.empty_strided((2, 3), (1, 2), **k), (2, 3), torch.float32),
    "full": (lambda **k: torch.full((2,), 7, **k), (2,), torch.int64),
    "full_float": (lambda **k: torch.full((2,), 0.5, **k), (2,), torch.float32),
    "full_bool": (lambda **k: torch.full((2,), True, **k), (2,), torch.bool),
    "rand": (lambda **k: torch.rand(4, **k), (4,), torch.float32),
    "randn": (lambda **k: torch.randn(4, 5, **k), (4, 5), torch.float32),
    "randint": (lambda **k: torch.randint(0, 9, (4,), **k), (4,), torch.int64),
    "randint_high": (lambda **k: torch.randint(9, (4,), **k), (4,), torch.int64),
    "randperm": (lambda **k: torch.randperm(6, **k), (6,), torch.int64),
    "arange": (lambda **k: torch.arange(5, **k), (5,), torch.int64),
    "arange_float": (lambda **k: torch.arange(0, 1, 0.25, **k), (4,), torch.float32),
    "range": (lambda **k: torch.linspace(0, 1, 5, **k), (5,), torch.float32),
    "logspace": (lambda **k: torch.logspace(0, 1, 5, **k), (5,), torch.float32),
    "eye": (lambda **k: torch.eye(3, **k), (3, 3), torch.float32),
    "tril_indices": (lambda **k: torch.tril_indices(3, 3, **k), (2, 6), torch.int64),
    "triu_indices": (lambda **k: torch.triu_indices(3, 3, **k), (2, 6), torch.int64),
    "hann": (lambda **k: torch.hann_window(8, **k), (8,), torch.float32),
    "hamming": (lambda **k: torch.hamming_window(8, **k), (8,), torch.float32),
    "blackman": (lambda **k: torch.blackman_window(8, **k), (8,), torch.float32),
    "bartlett": (lambda **k: torch.bartlett_window(8, **k), (8,), torch.float32),
    "kaiser": (lambda **k: torch.kaiser_window(8, **k), (8,), torch.float32),
    "fftfreq": (lambda **k: torch.fft.fftfreq(8, **k), (8,), torch.float32),
    "rfftfreq": (lambda **k: torch.fft.rfftfreq(8, **k), (5,), torch.float32),
    "scalar_tensor": (lambda **k: torch.scalar_tensor(2.0, **k), (), torch.float32),
    "tensor": (lambda **k: torch.tensor([[1, 2], [3, 4]], **k), (2, 2), torch.int64),
    "tensor_scalar": (lambda **k: torch.tensor(1.5, **k), (), torch.float32),
    "tensor_of_bools": (lambda **k: torch.tensor([True, False], **k), (2,), torch.bool),
    "tensor_complex": (lambda **k: torch.tensor([1j], **k), (1,), torch.complex64),
    "tensor_numpy": (lambda **k: torch.tensor(np.zeros(3), **k), (3,), torch.float64),
    "as_tensor": (lambda **k: torch.as_tensor([1.0, 2.0], **k), (2,), torch.float32),
    "as_tensor_numpy": (
        lambda **k: torch.as_tensor(np.arange(3, dtype=np.int32), **k), (3,), torch.int32),
    "asarray": (lambda **k: torch.asarray([1.0, 2.0], **k), (2,), torch.float32),
    "complex_zeros": (
        lambda **k: torch.zeros(2, dtype=torch.cfloat, **k), (2,), torch.complex64),
    "normal_size": (lambda **k: torch.normal(0.0, 1.0, (3, 2), **k), (3, 2), torch.float32),
    "half": (lambda **k: torch.ones(2, dtype=torch.half, **k), (2,), torch.float16),
    "vander": (lambda **k: torch.vander(torch.arange(3, **k)), (3, 3), torch.int64),
    "cartesian": (
        lambda **k: torch.cartesian_prod(torch.arange(2, **k), torch.arange(3, **k)),
        (6, 2), torch.int64),
    "meshgrid": (
        lambda **k: torch.meshgrid(torch.arange(2, **k), torch.arange(3, **k), indexing="ij")[0],
        (2, 3), torch.int64),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(FACTORIES))
@pytest.mark.parametrize("device", ["cuda", "cuda:0", torch.device("cuda"), 0])
def test_factory_with_device(name: str, device: Any) -> None:
    make, shape, dtype = FACTORIES[name]
    out = make(device=device)
    assert out.device == CUDA
    assert out.is_cuda
    assert not out.is_meta
    assert not out.is_cpu
    assert tuple(out.shape) == shape
    assert out.dtype is dtype
    assert out.type().startswith("torch.cuda.")


# torch.normal does not follow the default device, on real GPUs either.
@pytest.mark.parametrize("name", sorted(set(FACTORIES) - {"normal_size"}))
def test_factory_under_default_device(name: str) -> None:
    make, shape, dtype = FACTORIES[name]
    with torch.device("cuda"):
        out = make()
    assert out.device == CUDA
    assert (tuple(out.shape), out.dtype) == (shape, dtype)
    assert make().device.type == "cpu"


@pytest.mark.parametrize("name", sorted(set(FACTORIES) - {"vander", "cartesian", "meshgrid"}))
def test_factory_requires_grad(name: str) -> None:
    make, _, dtype = FACTORIES[name]
    if not (dtype.is_floating_point or dtype.is_complex) or name.startswith(("as_", "fft", "rfft")):
        return
    out = make(device="cuda", requires_grad=True)
    assert out.requires_grad
    assert out.is_leaf


LIKES: dict[str, Callable[..., torch.Tensor]] = {
    "zeros_like": torch.zeros_like,
    "ones_like": torch.ones_like,
    "empty_like": torch.empty_like,
    "rand_like": torch.rand_like,
    "randn_like": torch.randn_like,
    "full_like": lambda x, **k: torch.full_like(x, 2, **k),
    "randint_like": lambda x, **k: torch.randint_like(x, 0, 5, **k),
    "new_zeros": lambda x, **k: x.new_zeros(x.shape, **k),
    "new_ones": lambda x, **k: x.new_ones(*x.shape, **k),
    "new_empty": lambda x, **k: x.new_empty(x.shape, **k),
    "new_full": lambda x, **k: x.new_full(tuple(x.shape), 3.0, **k),
    "new_empty_strided": lambda x, **k: x.new_empty_strided(x.shape, (3, 1), **k),
    "new_tensor": lambda x, **k: x.new_tensor([[1.0, 2, 3], [4, 5, 6]], **k),
    "clone": lambda x, **k: x.clone().to(**k) if k else x.clone(),
}


@pytest.mark.parametrize("name", sorted(LIKES))
def test_like_keeps_device_and_dtype(name: str) -> None:
    x = torch.zeros(2, 3, dtype=torch.float16, device="cuda")
    out = LIKES[name](x)
    assert (out.device, out.dtype, tuple(out.shape)) == (CUDA, torch.float16, (2, 3))
    moved = LIKES[name](x, device="cpu")
    assert moved.device.type == "cpu"
    onto = LIKES[name](torch.zeros(2, 3), device="cuda", dtype=torch.bfloat16)
    assert (onto.device, onto.dtype) == (CUDA, torch.bfloat16)


def test_x_new() -> None:
    x = torch.zeros(2, 3, dtype=torch.int64, device="cuda")
    assert x.new(4, 5).device == CUDA
    assert tuple(x.new(4, 5).shape) == (4, 5)
    assert x.new([1, 2, 3]).tolist() == [1, 2, 3]
    assert x.new([1, 2, 3]).dtype is torch.int64
    assert x.data.new().numel() == 0


def test_legacy_constructors_on_cpu_then_moved() -> None:
    for made, shape in (
        (torch.Tensor(2, 3), (2, 3)),
        (torch.FloatTensor([1.0, 2.0]), (2,)),
        (torch.Tensor([[1.0], [2.0]]), (2, 1)),
    ):
        assert made.device.type == "cpu"
        assert tuple(made.cuda().shape) == shape
        assert made.cuda().dtype is torch.float32
    assert torch.LongTensor([1, 2]).to("cuda").tolist() == [1, 2]


def test_cuda_typed_constructors() -> None:
    x = torch.cuda.FloatTensor(2, 3)
    assert (x.device, x.dtype, tuple(x.shape)) == (CUDA, torch.float32, (2, 3))
    assert torch.cuda.LongTensor([1, 2]).tolist() == [1, 2]
    assert isinstance(x, torch.cuda.FloatTensor)
    assert not isinstance(x, torch.cuda.HalfTensor)
    assert not isinstance(torch.zeros(1), torch.cuda.FloatTensor)
    assert x.type() == "torch.cuda.FloatTensor"
    assert torch.zeros(2).type(torch.cuda.HalfTensor).dtype is torch.float16
    assert torch.zeros(2).type("torch.cuda.LongTensor").device == CUDA
    assert x.type(torch.FloatTensor).device.type == "cpu"
    assert torch.cuda.FloatTensor([1.5, 2.5]).fill_(0).tolist() == [0, 0]
    assert torch.cuda.ByteTensor(torch.Size([3])).shape == (3,)


def test_from_numpy_and_frombuffer() -> None:
    x = torch.from_numpy(np.arange(6).reshape(2, 3)).to("cuda")
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]
    y = torch.frombuffer(bytearray(8), dtype=torch.float32).cuda()
    assert tuple(y.shape) == (2,)


def test_set_default_device() -> None:
    torch.set_default_device("cuda")
    try:
        assert torch.get_default_device() == CUDA
        assert torch.randn(3).device == CUDA
        assert torch.tensor([1.0]).device == CUDA
        assert torch.nn.Linear(2, 2).weight.device == CUDA
        assert torch.zeros(1, device="cpu").device.type == "cpu"
        assert torch.from_numpy(np.zeros(2)).device.type == "cpu"
    finally:
        torch.set_default_device(None)
    assert torch.zeros(1).device.type == "cpu"


@pytest.mark.filterwarnings("ignore:torch.set_default_tensor_type")
def test_set_default_tensor_type() -> None:
    for kind in (torch.cuda.FloatTensor, "torch.cuda.FloatTensor"):
        torch.set_default_tensor_type(kind)
        assert torch.zeros(2).device == CUDA
        assert torch.rand(2).type() == "torch.cuda.FloatTensor"
        torch.set_default_tensor_type(torch.FloatTensor)
        assert torch.zeros(2).device.type == "cpu"


def test_default_dtype() -> None:
    torch.set_default_dtype(torch.bfloat16)
    try:
        assert torch.zeros(2, device="cuda").dtype is torch.bfloat16
        assert torch.tensor(1.0, device="cuda").dtype is torch.bfloat16
        assert torch.nn.Linear(2, 2, device="cuda").weight.dtype is torch.bfloat16
    finally:
        torch.set_default_dtype(torch.float32)


def test_module_with_device_and_dtype() -> None:
    layer = torch.nn.Linear(3, 4, device="cuda", dtype=torch.float16)
    assert {p.device for p in layer.parameters()} == {CUDA}
    assert {p.dtype for p in layer.parameters()} == {torch.float16}
    with torch.device("cuda"):
        net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8))
    assert {t.device for t in net.state_dict().values()} == {CUDA}


def test_known_values_are_kept() -> None:
    assert torch.arange(4, device="cuda").sum().item() == 6
    assert torch.tensor([3, 5], device="cuda").max().item() == 5
    assert torch.eye(3, device="cuda").tolist()[1] == [0.0, 1.0, 0.0]
    assert torch.full((2,), 4, device="cuda").tolist() == [4, 4]


def test_from_tensor_on_the_device() -> None:
    x = torch.ones(3, device="cuda")
    with pytest.warns(UserWarning, match="copy construct"):
        y = torch.tensor(x)
    assert y.device == CUDA
    assert torch.as_tensor(x) is x
    assert torch.as_tensor(x, device="cpu").device.type == "cpu"
    assert torch.tensor([x[0], x[1]]).tolist() == [1.0, 1.0]
    assert torch.stack([x, x]).device == CUDA


def test_stack_of_scalars(gpu: VirtualGpu) -> None:
    losses = [torch.rand((), device="cuda") for _ in range(3)]
    assert torch.stack(losses).mean().device == CUDA
    assert torch.tensor(losses, device="cuda").shape == (3,)
    assert gpu.assumptions
