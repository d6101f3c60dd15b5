"""Moving tensors and modules: ``.to``, ``.cuda``, ``.cpu``, pinned memory, tied weights, meta."""
# mypy: allow-untyped-calls, allow-untyped-decorators, no-warn-unreachable
# mypy: disable-error-code="attr-defined,union-attr,operator,index,no-any-return,arg-type,misc,call-overload,call-arg"

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from trainworthy.virtual.gpu import VirtualGpu

CUDA = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _on_gpu(gpu: VirtualGpu) -> None:
    """Run every test of this file on the virtual GPU."""


def test_every_form_of_to() -> None:
    x = torch.ones(2, 3)
    other = torch.zeros(1, dtype=torch.float16, device="cuda")
    forms = [
        x.to("cuda"), x.to("cuda:0"), x.to(0), x.to(torch.device("cuda")), x.to(device="cuda"), x.cuda(),
        x.cuda(0), x.cuda("cuda:0"), x.cuda(device=0), x.cuda(non_blocking=True), x.to("cuda", non_blocking=True),
        x.to("cuda", torch.float32), x.to(torch.device("cuda", 0), torch.float32, True),
        x.to("cuda", torch.float32, True, True), x.cuda(torch.cuda.current_device()),
    ]  # fmt: skip
    assert {f.device for f in forms} == {CUDA}
    assert {f.dtype for f in forms} == {torch.float32}
    assert x.to(other).dtype is torch.float16
    assert x.to(other).device == CUDA
    assert x.to(other=other).device == CUDA
    assert x.to("cuda", torch.bfloat16).dtype is torch.bfloat16
    assert x.to(dtype=torch.float64, device="cuda").dtype is torch.float64
    assert x.to(torch.float16).device.type == "cpu"
    assert x.to(bool).dtype is torch.bool
    assert [x.cuda().to(kind).dtype for kind in (bool, int, float, complex)] == [
        torch.bool, torch.int64, torch.float64, torch.complex128,
    ]  # fmt: skip
    assert x.to("cuda", int).dtype is x.to(dtype=int, device="cuda").dtype is torch.int64


def test_to_returns_itself_when_nothing_changes() -> None:
    x = torch.ones(2, device="cuda")
    assert x.to("cuda") is x
    assert x.cuda() is x
    assert x.to(torch.float32) is x
    assert x.to("cuda:0", torch.float32) is x
    assert x.to(x) is x
    assert x.to("cuda", copy=True) is not x
    assert x.to(torch.float32, copy=True) is not x
    y = torch.ones(2)
    assert y.to("cpu") is y
    assert y.cpu() is y


def test_dtype_methods_stay_on_the_device() -> None:
    x = torch.ones(2, 3, device="cuda")
    for cast, dtype in (("half", torch.float16), ("bfloat16", torch.bfloat16), ("double", torch.float64),
                        ("int", torch.int32), ("long", torch.int64), ("bool", torch.bool), ("byte", torch.uint8),
                        ("char", torch.int8), ("short", torch.int16), ("cfloat", torch.complex64)):  # fmt: skip
        out = getattr(x, cast)()
        assert (out.dtype, out.device) == (dtype, CUDA)
    assert x.type(torch.float16).dtype is torch.float16
    assert x.type_as(torch.zeros(1, dtype=torch.int64)).device.type == "cpu"
    assert torch.zeros(2).type_as(x).device == CUDA


def test_round_trip_keeps_known_values() -> None:
    x = torch.tensor([1, 2, 3])
    assert x.cuda().cpu().tolist() == [1, 2, 3]
    assert x.cuda().to(torch.float32).cpu().numpy().tolist() == [1.0, 2.0, 3.0]
    assert (x.cuda() * 2).cpu()[1].item() == 4


def test_grad_flows_through_a_move() -> None:
    w = torch.ones(3, requires_grad=True)
    y = w.to("cuda")
    assert y.requires_grad
    assert not y.is_leaf
    (y * 2).sum().backward()
    assert w.grad is not None
    assert w.grad.device.type == "cpu"
    assert w.grad.shape == (3,)


def test_grad_of_a_parameter_that_stays_on_the_cpu() -> None:
    layer = nn.Linear(3, 3)
    (layer.weight.to("cuda", torch.float16) * 2).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.device.type == "cpu"
    assert layer.weight.grad.dtype is torch.float32
    out = layer(torch.ones(1, 3)).cuda().sum().cpu()
    out.backward()
    assert layer.bias.grad.device.type == "cpu"


def test_invalid_ordinal() -> None:
    for make in (lambda: torch.zeros(1).to("cuda:1"), lambda: torch.zeros(1, device="cuda:3"),
                 lambda: torch.zeros(1).cuda(1)):  # fmt: skip
        with pytest.raises(RuntimeError, match="CUDA error: invalid device ordinal"):
            make()


def test_copies_between_devices() -> None:
    host, device = torch.arange(4.0), torch.zeros(4, device="cuda")
    device.copy_(host)
    assert device.tolist() == [0.0, 1.0, 2.0, 3.0]
    device.copy_(host, non_blocking=True)
    back = torch.empty(4)
    back.copy_(device)
    assert back.tolist() == [0.0, 1.0, 2.0, 3.0]
    device[1:3] = torch.tensor([7.0, 8.0])
    assert device.tolist() == [0.0, 7.0, 8.0, 3.0]
    device[0] = 5
    assert device[0].item() == 5.0


def test_module_to_keeps_identity_and_ties() -> None:
    model = nn.ModuleDict({"emb": nn.Embedding(10, 4), "head": nn.Linear(4, 10, bias=False)})
    head, emb = model["head"], model["emb"]
    head.weight = emb.weight
    before = list(model.parameters())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert model.to("cuda") is model
    after = list(model.parameters())
    assert [id(p) for p in after] == [id(p) for p in before]
    assert head.weight is emb.weight
    assert after[0].device == CUDA
    assert optimizer.param_groups[0]["params"][0] is emb.weight
    assert len(list(model.parameters())) == 1


def test_module_to_forms_and_buffers() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    model.register_buffer("grid", torch.arange(4))
    model.register_buffer("scratch", torch.zeros(2), persistent=False)
    model.to("cuda", torch.float16)
    assert model[0].weight.dtype is torch.float16
    assert model[1].running_mean.dtype is torch.float16
    assert model[1].num_batches_tracked.dtype is torch.int64
    assert model.grid.dtype is torch.int64
    assert model.grid.tolist() == [0, 1, 2, 3]
    assert {b.device for b in model.buffers()} == {CUDA}
    model.float().cpu()
    assert {t.device.type for t in model.state_dict().values()} == {"cpu"}
    assert model.cuda(0)[0].weight.is_cuda
    assert model.half()[0].weight.dtype is torch.float16
    assert model.bfloat16()[0].bias.dtype is torch.bfloat16
    assert model.double()[0].bias.dtype is torch.float64
    assert model.to(torch.zeros(1, device="cuda"))[0].weight.dtype is torch.float32


def test_module_to_channels_last() -> None:
    model = nn.Conv2d(8, 16, 3).to("cuda", memory_format=torch.channels_last)
    assert model.weight.is_contiguous(memory_format=torch.channels_last)
    assert model.weight.stride() == (72, 1, 24, 8)


def test_module_with_gradients_moves_them_too() -> None:
    model = nn.Linear(3, 3).cuda()
    model(torch.ones(2, 3, device="cuda")).sum().backward()
    model.cpu()
    assert model.weight.grad is not None
    assert model.weight.grad.device.type == "cpu"
    model.to("cuda")
    assert model.weight.grad.device == CUDA


def test_swap_setting() -> None:
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        model = nn.Linear(3, 3)
        first = model.weight
        model.to("cuda")
        assert model.weight is first
        assert model.weight.device == CUDA
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)


def test_overwrite_setting() -> None:
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        model = nn.Linear(3, 3).to("cuda")
        assert model.weight.device == CUDA
        assert isinstance(model.weight, nn.Parameter)
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)


def test_meta_of_the_script_stays_meta() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    assert {p.device.type for p in model.parameters()} == {"meta"}
    assert {b.device.type for b in model.buffers()} == {"meta"}
    assert model[0].weight.is_meta
    assert torch.zeros(2, device="meta").is_meta
    assert torch.ones(3).to("meta").is_meta
    assert torch.zeros_like(torch.ones(2, device="cuda"), device="meta").is_meta
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor; no data!"):
        model.to("cuda")
    model.to_empty(device="cuda")
    assert {p.device for p in model.parameters()} == {CUDA}
    for layer in model:
        layer.reset_parameters()
    assert model(torch.ones(2, 4, device="cuda")).device == CUDA


def test_meta_arithmetic_stays_meta() -> None:
    a = torch.ones(3, 4, device="meta")
    b = torch.ones(4, 5, device="meta", requires_grad=True)
    out = (a @ b).relu().sum()
    assert out.is_meta
    out.backward()
    assert b.grad is not None
    assert b.grad.is_meta
    assert torch.ones(3, device="cuda").mul(2).is_cuda  # and a virtual one in between
    assert torch.nn.functional.one_hot(torch.zeros(3, dtype=torch.long, device="meta"), 5).is_meta


def test_load_onto_meta_with_assign() -> None:
    state = nn.Linear(4, 4).state_dict()
    with torch.device("meta"):
        model = nn.Linear(4, 4)
    model.load_state_dict(state, assign=True)
    assert model.weight.device.type == "cpu"
    assert model.cuda().weight.device == CUDA


def test_pinned_memory() -> None:
    x = torch.zeros(4, 4).pin_memory()
    assert x.is_pinned()
    assert x.device.type == "cpu"
    assert x.to("cuda", non_blocking=True).device == CUDA
    assert torch.empty(2, pin_memory=True).is_pinned()
    assert torch.zeros(2, pin_memory=True).device.type == "cpu"
    assert not torch.zeros(2).is_pinned()
    with pytest.raises(RuntimeError, match=r"cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors"):
        torch.zeros(2, device="cuda").pin_memory()


def test_lists_and_nested_batches() -> None:
    batch = {"x": torch.zeros(2, 3), "y": [torch.ones(2, dtype=torch.long)]}

    def move(value: object) -> object:
        if isinstance(value, torch.Tensor):
            return value.to("cuda", non_blocking=True)
        if isinstance(value, dict):
            return {k: move(v) for k, v in value.items()}
        return [move(v) for v in value]

    def leaves(value: object) -> Iterator[torch.Tensor]:
        if isinstance(value, torch.Tensor):
            yield value
        else:
            for v in value.values() if isinstance(value, dict) else value:
                yield from leaves(v)

    assert {t.device for t in leaves(move(batch))} == {CUDA}


def test_parameter_containers() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))
            self.items = nn.ParameterList([nn.Parameter(torch.randn(2, 2)) for _ in range(3)])
            self.named = nn.ParameterDict({"a": nn.Parameter(torch.zeros(3))})
            self.register_parameter("none", None)

    net = Net().to("cuda")
    assert {p.device for p in net.parameters()} == {CUDA}
    assert len(list(net.parameters())) == 5
    assert net.scale.tolist() == [1.0]
    net.items.append(nn.Parameter(torch.zeros(2, device="cuda")))
    assert net.items[3].is_cuda


def test_model_built_before_and_its_optimizer() -> None:
    model = nn.Linear(4, 4)
    optimizer = torch.optim.AdamW(model.parameters())
    model.cuda()
    model(torch.ones(1, 4).cuda()).sum().backward()
    optimizer.step()
    state = optimizer.state[model.weight]
    assert state["exp_avg"].device == CUDA


def test_device_of_views_and_results() -> None:
    x = torch.randn(4, 6, device="cuda")
    for view in (x.view(24), x[1:], x.t(), x.unsqueeze(0), x.expand(2, 4, 6), x.reshape(2, 12), x.T.contiguous(),
                 x.split(2)[0], x.chunk(2, 1)[1], x.unbind()[0], x.narrow(0, 1, 2), x.diagonal(), x.unfold(1, 2, 2),
                 x.detach(), x.data, x.permute(1, 0), x.flatten(), x.view_as(x), x.as_strided((2,), (3,)),
                 x.view(torch.int32), x.squeeze(), x.movedim(0, 1), x.unflatten(1, (2, 3)), x.real):  # fmt: skip
        assert view.device == CUDA
        assert view.is_cuda
        assert view.get_device() == 0
    assert x.detach().untyped_storage()._cdata == x.untyped_storage()._cdata
    assert x.device == x.cuda().device
    assert str(x.device) == "cuda:0"
    assert f"{x.device.type}:{x.device.index}" == "cuda:0"
    assert x.is_cuda
    assert torch.zeros(1).get_device() == -1


def test_storages() -> None:
    x = torch.zeros(4, 6, device="cuda")
    assert x.untyped_storage().nbytes() == 96
    assert x.untyped_storage().device == CUDA
    with pytest.warns(UserWarning, match="TypedStorage is deprecated"):
        assert x.storage().device == CUDA
    assert x.data_ptr() == x[0].data_ptr()
    assert x.data_ptr() != x.clone().data_ptr()
    assert x[1].data_ptr() - x.data_ptr() == 24
    assert x.element_size() * x.nelement() == x.nbytes == 96


def test_data_assignment_moves() -> None:
    p = nn.Parameter(torch.zeros(3))
    p.data = p.data.to("cuda")
    assert p.device == CUDA
    p.data = p.data.half()
    assert p.dtype is torch.float16
    p.grad = torch.ones(3, device="cuda", dtype=torch.float16)
    assert p.grad.device == CUDA
