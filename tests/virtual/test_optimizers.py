"""Every optimizer of torch.optim in its forms, schedulers, compiled and checkpointed training, EMA."""
# ruff: noqa: E501 - tables, one case a line
# mypy: allow-untyped-calls, allow-untyped-decorators, no-warn-unreachable
# mypy: disable-error-code="attr-defined,union-attr,operator,index,no-any-return,arg-type,misc,call-overload,call-arg"

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from trainworthy.virtual.gpu import VirtualGpu

CUDA = torch.device("cuda", 0)
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "SGD": {"lr": 0.1, "momentum": 0.9}, "Adam": {}, "AdamW": {}, "Adamax": {}, "NAdam": {}, "RAdam": {}, "RMSprop": {},
    "Rprop": {}, "Adagrad": {}, "Adadelta": {}, "ASGD": {}, "Adafactor": {},
}  # fmt: skip
FUSED = {"SGD", "Adam", "AdamW", "Adagrad"}


@pytest.fixture(autouse=True)
def _on_gpu(gpu: VirtualGpu) -> None:
    """Run every test of this file on the virtual GPU."""


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)).cuda()


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
    optimizer.zero_grad()
    loss = model(torch.randn(2, 8, device="cuda")).pow(2).mean()
    loss.backward()
    optimizer.step()
    return loss


def names(gpu: VirtualGpu) -> list[str]:
    return [op.name for op in gpu.tape().ops if op.phase == "optimizer"]


@pytest.mark.parametrize("form", ["default", "foreach", "for-loop", "fused", "capturable"])
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer(gpu: VirtualGpu, name: str, form: str) -> None:
    options = dict(OPTIMIZERS[name])
    if form == "fused" and name not in FUSED:
        return
    if form == "capturable" and name in {"SGD", "Adafactor", "Adagrad"}:
        return
    options |= {"foreach": {"foreach": True}, "for-loop": {"foreach": False}, "fused": {"fused": True},
                "capturable": {"capturable": True}, "default": {}}[form]  # fmt: skip
    model = net()
    optimizer = getattr(torch.optim, name)(model.parameters(), **options)
    for _ in range(2):
        step(model, optimizer)
    for state in optimizer.state.values():
        for key, value in state.items():
            if isinstance(value, torch.Tensor) and value.dim():
                assert value.device == CUDA, key
    used = names(gpu)
    assert used
    if form == "default" and name not in {"Adafactor"}:
        assert any(n.startswith("_foreach") for n in used)  # CUDA's default
    if form == "fused":
        assert any(n.startswith("_fused") for n in used)
    if form == "for-loop":
        assert not any(n.startswith(("_foreach", "_fused")) for n in used)


def test_adam_variants() -> None:
    model = net()
    for options in ({"amsgrad": True}, {"maximize": True}, {"weight_decay": 0.1}, {"lr": torch.tensor(0.1)},
                    {"lr": torch.tensor(0.1, device="cuda"), "fused": True}, {"amsgrad": True, "fused": True}):  # fmt: skip
        optimizer = torch.optim.AdamW(model.parameters(), **options)
        step(model, optimizer)
        step(model, optimizer)


def test_sparse_adam_and_lbfgs() -> None:
    table = nn.Embedding(100, 8, sparse=True).cuda()
    optimizer = torch.optim.SparseAdam(list(table.parameters()))
    # Said outright, because torch warns of the default once a process.
    with torch.sparse.check_sparse_tensor_invariants(enable=False):
        for _ in range(2):
            optimizer.zero_grad()
            table(torch.tensor([1, 2, 2]).cuda()).sum().backward()
            assert table.weight.grad.is_sparse
            optimizer.step()
    model = net()
    lbfgs = torch.optim.LBFGS(model.parameters(), max_iter=2, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        lbfgs.zero_grad()
        loss = model(torch.randn(2, 8, device="cuda")).pow(2).mean()
        loss.backward()
        return loss

    lbfgs.step(closure)


def test_muon() -> None:
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this version of torch has no Muon")
    layer = nn.Linear(8, 16, bias=False).cuda()
    step(layer, torch.optim.Muon(layer.parameters(), lr=0.1))


def test_groups_schedulers_and_state_dicts() -> None:
    model = net()
    groups = [{"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": 0.1},
              {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0}]  # fmt: skip
    optimizer = torch.optim.AdamW(groups, lr=1.0)
    schedulers = [
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.5**epoch),
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10), torch.optim.lr_scheduler.StepLR(optimizer, 5),
        torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=10),
        torch.optim.lr_scheduler.SequentialLR(
            optimizer, [torch.optim.lr_scheduler.LinearLR(optimizer), torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)],
            milestones=[2]),
    ]  # fmt: skip
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    for _ in range(3):
        loss = step(model, optimizer)
        for scheduler in schedulers:
            scheduler.step()
        plateau.step(loss.detach())
        plateau.step(loss.item())
    saved = copy.deepcopy(optimizer.state_dict())
    other = torch.optim.AdamW([{**g, "params": list(g["params"])} for g in groups], lr=1.0)
    other.load_state_dict(saved)
    assert other.state[model[0].weight]["exp_avg"].device == CUDA
    assert other.state[model[0].weight]["step"].item() == 3
    optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(3, device="cuda"))]})
    assert schedulers[0].state_dict()["last_epoch"] == 3


def test_accumulation_and_clipping(gpu: VirtualGpu) -> None:
    model = net()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    for _ in range(2):
        for _ in range(4):
            (model(torch.randn(2, 8, device="cuda")).mean() / 4).backward()
        total = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        nn.utils.clip_grad_value_(model.parameters(), 0.5)
        nn.utils.get_total_norm([p.grad for p in model.parameters()])
        assert (total.device, total.shape) == (CUDA, ())
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        assert model[0].weight.grad.count_nonzero().item() in {0, 1}
        optimizer.zero_grad()
        assert model[0].weight.grad is None
    assert gpu.recorder.steps.completed == 2


def test_backward_hook_optimizer(gpu: VirtualGpu) -> None:
    model = net()
    optimizers = {p: torch.optim.SGD([p], lr=0.1, foreach=False) for p in model.parameters()}

    def hook(p: torch.Tensor) -> None:
        optimizers[p].step()
        optimizers[p].zero_grad()

    for p in model.parameters():
        p.register_post_accumulate_grad_hook(hook)
    model(torch.randn(2, 8, device="cuda")).mean().backward()
    assert all(p.grad is None for p in model.parameters())
    assert names(gpu)


def test_compile_in_every_form(gpu: VirtualGpu) -> None:
    model = net()
    compiled = torch.compile(model, mode="reduce-overhead", fullgraph=True, dynamic=False)
    assert compiled(torch.randn(2, 8, device="cuda")).shape == (2, 4)
    assert set(compiled.state_dict()) == {f"_orig_mod.{k}" for k in model.state_dict()}
    assert len(compiled) == 3
    assert compiled._orig_mod is model
    compiled.anything = 1
    assert model.anything == 1
    assert [id(p) for p in compiled.parameters()] == [id(p) for p in model.parameters()]
    compiled.train(False)
    assert not model.training

    @torch.compile
    def f(x: torch.Tensor) -> torch.Tensor:
        return x.relu()

    @torch.compile(backend="inductor")
    def g(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    assert g(f(torch.ones(3, device="cuda"))).tolist() == [2.0, 2.0, 2.0]
    model.compile()
    assert model(torch.randn(2, 8, device="cuda")).shape == (2, 4)
    optimizer = torch.optim.Adam(compiled.parameters())
    torch.compile(optimizer.step)()
    torch.compiler.cudagraph_mark_step_begin()
    assert not torch.compiler.is_compiling()
    torch._dynamo.config.suppress_errors = True
    assert gpu.compile_requested

    @torch.compiler.disable
    def h(x: torch.Tensor) -> torch.Tensor:
        return x + 1

    assert h(torch.zeros(1, device="cuda")).tolist() == [1.0]


def test_script_and_trace_run_eagerly() -> None:
    @torch.jit.script
    def gelu(x: torch.Tensor) -> torch.Tensor:
        return x * 0.5 * (1.0 + torch.erf(x / 1.41421))

    assert gelu(torch.ones(3, device="cuda")).device == CUDA

    class Net(torch.jit.ScriptModule):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 3)

        @torch.jit.script_method
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x)

    assert Net().cuda()(torch.ones(2, 3, device="cuda")).shape == (2, 3)
    model = torch.jit.script(net())
    assert model(torch.randn(2, 8, device="cuda")).shape == (2, 4)
    traced = torch.jit.trace(net(), torch.randn(2, 8, device="cuda"))
    assert traced(torch.randn(2, 8, device="cuda")).shape == (2, 4)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoint(gpu: VirtualGpu, reentrant: bool) -> None:
    block = nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Dropout(0.1), nn.Linear(64, 64)).cuda()
    x = torch.randn(32, 64, device="cuda", requires_grad=True)
    out = checkpoint(block, x, use_reentrant=reentrant, preserve_rng_state=True)
    held = torch.cuda.memory_allocated()
    out.sum().backward()
    phases = [op.phase for op in gpu.tape().ops if op.name == "addmm"]
    assert phases.count("forward") == 2
    assert phases.count("recompute") in {1, 2}
    assert block[0].weight.grad is not None
    plain = block(x)
    assert torch.cuda.memory_allocated() - held > 0
    del plain


def test_checkpoint_sequential_and_selective() -> None:
    from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts

    model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(4))).cuda()
    x = torch.randn(2, 8, device="cuda", requires_grad=True)
    checkpoint_sequential(model, 2, x, use_reentrant=False).sum().backward()

    def policy(ctx: Any, op: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
        keep = op == torch.ops.aten.addmm.default
        return CheckpointPolicy.MUST_SAVE if keep else CheckpointPolicy.PREFER_RECOMPUTE

    def contexts() -> Any:
        return create_selective_checkpoint_contexts(policy)

    checkpoint(model, x, use_reentrant=False, context_fn=contexts).sum().backward()
    assert model[0].weight.grad is not None


def test_saved_tensor_hooks_and_offload(gpu: VirtualGpu) -> None:
    packed: list[torch.Size] = []

    def pack(x: torch.Tensor) -> Any:
        packed.append(x.shape)
        return x.device, x.to("cpu")

    def unpack(value: Any) -> torch.Tensor:
        return value[1].to(value[0])

    w = torch.randn(64, 64, device="cuda", requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        y = (w @ w).sin().sum()
    y.backward()
    assert torch.Size([64, 64]) in packed
    x = torch.randn(256, 256, device="cuda")
    before = torch.cuda.memory_allocated()
    with torch.autograd.graph.save_on_cpu(pin_memory=True):
        out = nn.Linear(256, 256, device="cuda")(x.sin().cos()).exp().sum()
    assert torch.cuda.memory_allocated() - before < 2 * x.nbytes
    out.backward()
    with torch.autograd.graph.disable_saved_tensors_hooks("not here"):
        (w * 2).sum().backward()
    assert gpu.recorder.ops


def test_ema_copies() -> None:
    model = net()
    ema = copy.deepcopy(model)
    assert ema[0].weight is not model[0].weight
    assert ema[0].weight.device == CUDA
    with torch.no_grad():
        for a, b in zip(ema.parameters(), model.parameters(), strict=True):
            a.lerp_(b, 0.1)
            a.mul_(0.9).add_(b, alpha=0.1)
            a.copy_(b)
        torch._foreach_lerp_(list(ema.parameters()), list(model.parameters()), 0.1)
    averaged = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99))
    plain = torch.optim.swa_utils.AveragedModel(model, device="cuda", use_buffers=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        step(model, optimizer)
        averaged.update_parameters(model)
        plain.update_parameters(model)
    assert averaged.n_averaged.item() == 2
    swa = torch.optim.swa_utils.SWALR(optimizer, swa_lr=0.05)
    step(model, optimizer)
    swa.step()
    loader = [torch.randn(2, 8) for _ in range(2)]
    torch.optim.swa_utils.update_bn(loader, plain, device="cuda")
    assert averaged(torch.randn(2, 8, device="cuda")).shape == (2, 4)


def test_gradients_are_clipped_all_at_once_as_on_cuda(gpu: VirtualGpu) -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).cuda()
    net(torch.zeros(2, 4, device="cuda")).sum().backward()
    for foreach in (None, True):
        nn.utils.clip_grad_norm_(net.parameters(), 1.0, foreach=foreach)
    names = [op.name.split(".")[0] for op in gpu.tape().ops]
    assert names.count("_foreach_norm") == names.count("_foreach_mul_") == 2
    assert "linalg_vector_norm" in names  # of the norms, not of the gradients
    assert names.count("linalg_vector_norm") == 2
