"""Hooks, custom Functions, higher derivatives, torch.func, parametrizations, in-place errors."""
# mypy: allow-untyped-calls, allow-untyped-decorators, no-warn-unreachable
# mypy: disable-error-code="attr-defined,union-attr,operator,index,no-any-return,arg-type,misc,call-overload,call-arg"

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.utils import parametrizations, parametrize, prune

from trainworthy.virtual.gpu import VirtualGpu

CUDA = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _on_gpu(gpu: VirtualGpu) -> None:
    """Run every test of this file on the virtual GPU."""


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4)).cuda()


def r(*shape: int, grad: bool = False) -> torch.Tensor:
    return torch.randn(*shape, device="cuda", requires_grad=grad)


def test_hooks() -> None:
    model, seen = net(), []
    model[0].register_forward_pre_hook(lambda m, a: seen.append("pre"))
    model[0].register_forward_hook(lambda m, a, o: seen.append("forward"))
    model[0].register_full_backward_hook(lambda m, i, o: seen.append("backward"))
    model[0].register_full_backward_pre_hook(lambda m, o: seen.append("backward-pre"))
    model[0].weight.register_hook(lambda g: seen.append(("gradient", g.device)))
    model[2].bias.register_post_accumulate_grad_hook(lambda p: seen.append(("after", p.grad.shape)))
    x = r(2, 8, grad=True)
    h = model[0](x)
    h.register_hook(lambda g: g * 2)
    h.retain_grad()
    model[2](model[1](h)).sum().backward()
    assert {"pre", "forward", "backward", "backward-pre", ("gradient", CUDA), ("after", torch.Size([4]))} <= set(seen)
    assert h.grad.shape == (2, 16)
    handle = h.register_hook(lambda g: None)
    handle.remove()


def test_custom_functions() -> None:
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor, scale: float) -> torch.Tensor:
            ctx.save_for_backward(x)
            ctx.scale = scale
            return x * x * scale

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> Any:
            (x,) = ctx.saved_tensors
            assert ctx.needs_input_grad == (True, False)
            return 2 * x * grad * ctx.scale, None

    class Once(torch.autograd.Function):
        @staticmethod
        def forward(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x.exp(), x.argmax()

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.mark_non_differentiable(output[1])
            ctx.save_for_backward(output[0])

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, grad: torch.Tensor, _: Any) -> torch.Tensor:
            return grad * ctx.saved_tensors[0]

    class AddInPlace(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            ctx.mark_dirty(x)
            return x.add_(1)

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
            return grad

    x = r(3, grad=True)
    Square.apply(x, 2.0).sum().backward()
    assert x.grad.shape == (3,)
    value, index = Once.apply(x)
    assert not index.requires_grad
    value.sum().backward()
    gradient = torch.autograd.grad((Once.apply(x)[0] ** 2).sum(), x, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()
    AddInPlace.apply(x * 1).sum().backward()


def test_double_backward_and_gradient_penalty(gpu: VirtualGpu) -> None:
    critic, x = net(), r(2, 8, grad=True)
    score = critic(x).sum()
    (gradient,) = torch.autograd.grad(score, x, create_graph=True)
    penalty = ((gradient.norm(2, dim=1) - 1) ** 2).mean()
    penalty.backward()
    assert critic[0].weight.grad.device == CUDA
    conv = nn.Conv2d(3, 4, 3).cuda()
    image = r(1, 3, 8, 8, grad=True)
    (g,) = torch.autograd.grad(conv(image).pow(2).sum(), image, create_graph=True)
    g.pow(2).sum().backward()
    assert conv.weight.grad.shape == conv.weight.shape
    assert any(op.phase == "backward" for op in gpu.tape().ops)


def test_autograd_api() -> None:
    x = r(3, grad=True)
    y = (x**3).sum()
    assert torch.autograd.grad(y, x, retain_graph=True)[0].device == CUDA
    assert torch.autograd.grad(y, [x, r(2, grad=True)], allow_unused=True)[1] is None
    hessian = torch.autograd.functional.hessian(lambda v: (v**3).sum(), x.detach())
    assert hessian.shape == (3, 3)
    assert torch.autograd.functional.jacobian(lambda v: v * 2, x.detach()).shape == (3, 3)
    assert torch.autograd.functional.vjp(lambda v: v.sum(), x.detach())[1].shape == (3,)
    with torch.no_grad():
        assert not (x * 2).requires_grad
    with torch.inference_mode():
        z = x * 2
        assert z.is_inference()
    with torch.set_grad_enabled(False), torch.enable_grad():
        assert (x * 2).requires_grad
    with pytest.warns(UserWarning, match="Anomaly Detection"), torch.autograd.detect_anomaly():
        (x * 2).sum().backward()
    assert x.grad.shape == (3,)
    torch.autograd.backward([(x * 2).sum(), (x * 3).sum()])
    (x * r(3)).backward(torch.ones(3, device="cuda"))
    with pytest.raises(RuntimeError, match="grad can be implicitly created only for scalar outputs"):
        (x * 2).backward()
    with pytest.raises(RuntimeError, match="does not require grad and does not have a grad_fn"):
        r(3).sum().backward()


def test_in_place_errors() -> None:
    w = r(3, grad=True)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place"):
        w.add_(1)
    y = w.exp()
    y.add_(1)
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation: \[torch.cuda.FloatTensor \[3\]\]"):
        y.sum().backward()
    z = w * 2
    a = (z * z).sum()
    z.mul_(3)
    with pytest.raises(RuntimeError, match="is at version 1; expected version 0 instead"):
        a.backward()
    view = w.view(3)
    with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad"):
        view.add_(1)
    with torch.no_grad():
        w.add_(1)
    assert w._version == 1


def test_backward_twice() -> None:
    w = r(3, grad=True)
    y = (w.exp()).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        y.backward()
    y = (w.exp()).sum()
    y.backward(retain_graph=True)
    y.backward()


def test_gradient_of_wrong_device_or_shape() -> None:
    w = r(3, grad=True)
    with pytest.raises(
        RuntimeError, match=r"attempting to assign a gradient of size '\[4\]' to a tensor of size '\[3\]'"
    ):
        w.grad = torch.zeros(4, device="cuda")
    with pytest.raises(RuntimeError, match="Mismatch in shape"):
        (w * 2).backward(torch.ones(4, device="cuda"))


def test_torch_func() -> None:
    from torch.func import functional_call, grad, grad_and_value, hessian, jacfwd, jacrev, stack_module_state, vjp, vmap

    model = net()
    parameters = {k: v.detach() for k, v in model.named_parameters()}

    def loss(p: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return functional_call(model, p, (x,)).pow(2).mean()

    x = r(5, 8)
    assert functional_call(model, parameters, (x,)).device == CUDA
    gradients = grad(loss)(parameters, x)
    assert gradients["0.weight"].shape == (16, 8)
    assert gradients["0.weight"].device == CUDA
    _, value = grad_and_value(loss)(parameters, x)
    assert value.shape == ()
    per_sample = vmap(grad(loss), in_dims=(None, 0))(parameters, x.unsqueeze(1))
    assert per_sample["0.weight"].shape == (5, 16, 8)
    assert vmap(lambda a: a.sum())(x).shape == (5,)
    assert vmap(torch.dot)(x, x).device == CUDA
    assert jacrev(lambda a: a**2)(r(3)).shape == (3, 3)
    assert hessian(lambda a: (a**2).sum())(r(3)).shape == (3, 3)
    assert jacfwd(lambda a: a**2)(r(3)).shape == (3, 3)
    out, pull = vjp(lambda a: a.sin(), r(3))
    assert pull(out)[0].shape == (3,)
    stacked, buffers = stack_module_state([net(), net()])
    assert stacked["0.weight"].shape == (2, 16, 8)

    def run(p: Any, b: Any, v: torch.Tensor) -> torch.Tensor:
        return functional_call(model, (p, b), (v,))

    assert vmap(run, in_dims=(0, 0, None))(stacked, buffers, x).shape == (2, 5, 4)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_forward_mode() -> None:
    import torch.autograd.forward_ad as fwd

    with fwd.dual_level():
        dual = fwd.make_dual(r(3), r(3))
        tangent = fwd.unpack_dual(dual.sin()).tangent
        assert tangent.device == CUDA


def test_parametrizations() -> None:
    layer = parametrizations.weight_norm(nn.Linear(8, 4)).cuda()
    layer(r(2, 8)).sum().backward()
    assert layer.parametrizations.weight.original0.grad.shape == (4, 1)
    spectral = parametrizations.spectral_norm(nn.Conv2d(3, 4, 3)).cuda()
    spectral(r(1, 3, 8, 8)).sum().backward()
    assert spectral.parametrizations.weight.original.grad is not None
    spectral.eval()
    assert spectral(r(1, 3, 8, 8)).shape == (1, 4, 6, 6)
    parametrize.remove_parametrizations(layer, "weight")
    assert isinstance(layer.weight, nn.Parameter)

    class Symmetric(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.triu() + x.triu(1).T

    square = nn.Linear(4, 4).cuda()
    parametrize.register_parametrization(square, "weight", Symmetric())
    square(r(2, 4)).sum().backward()
    orthogonal = parametrizations.orthogonal(nn.Linear(4, 4)).cuda()
    assert orthogonal(r(2, 4)).shape == (2, 4)


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
def test_old_style_norms() -> None:
    old = nn.utils.weight_norm(nn.Linear(8, 4)).cuda()
    old(r(2, 8)).sum().backward()
    assert old.weight_g.grad.shape == (4, 1)
    spectral = nn.utils.spectral_norm(nn.Linear(8, 4)).cuda()
    spectral(r(2, 8)).sum().backward()
    assert spectral.weight_orig.grad.shape == (4, 8)


def test_nn_utils_and_prune() -> None:
    model = net()
    vector = nn.utils.parameters_to_vector(model.parameters())
    assert (vector.device, vector.numel()) == (CUDA, 8 * 16 + 16 + 16 * 4 + 4)
    nn.utils.vector_to_parameters(vector, model.parameters())
    prune.l1_unstructured(model[0], "weight", amount=0.5)
    prune.random_unstructured(model[2], "weight", amount=3)
    model(r(2, 8)).sum().backward()
    assert model[0].weight_orig.grad is not None
    prune.remove(model[0], "weight")
    prune.ln_structured(model[0], "weight", amount=0.5, n=2, dim=0)
    fused = nn.utils.fuse_conv_bn_eval(nn.Conv2d(3, 4, 3).cuda().eval(), nn.BatchNorm2d(4).cuda().eval())
    assert fused(r(1, 3, 8, 8)).shape == (1, 4, 6, 6)


def test_initialisers() -> None:
    w, c = torch.empty(16, 8, device="cuda"), torch.empty(8, 4, 3, 3, device="cuda")
    for name in ("uniform_", "normal_", "ones_", "zeros_", "eye_", "xavier_uniform_", "xavier_normal_", "trunc_normal_",
                 "kaiming_uniform_", "kaiming_normal_", "orthogonal_"):  # fmt: skip
        assert getattr(nn.init, name)(w) is w
    nn.init.constant_(w, 0.5)
    assert w[0, 0].item() == 0.5
    nn.init.sparse_(w, 0.1)
    nn.init.dirac_(c)
    nn.init.kaiming_normal_(nn.Conv2d(3, 4, 3).weight, mode="fan_out", nonlinearity="relu")
    model = net()
    model.apply(lambda m: nn.init.zeros_(m.bias) if isinstance(m, nn.Linear) else None)
    with torch.no_grad():
        model[0].weight.copy_(torch.randn(16, 8))
        model[0].weight.data.normal_(0, 0.02)
        model[0].weight[0].fill_(0)


def test_lazy_modules() -> None:
    model = nn.Sequential(nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(4)).cuda()
    assert model(r(2, 3, 8, 8)).shape == (2, 4)
    assert model[3].weight.shape == (4, 8 * 36)
    assert {p.device for p in model.parameters()} == {CUDA}


def test_batch_norm_statistics() -> None:
    norm = nn.BatchNorm2d(4).cuda()
    norm(r(2, 4, 3, 3)).sum().backward()
    assert norm.num_batches_tracked.item() == 1
    assert norm.running_mean.device == CUDA
    norm.eval()
    norm(r(2, 4, 3, 3))
    norm.reset_running_stats()
    for layer, shape in ((nn.GroupNorm(2, 4), (2, 4, 3)), (nn.InstanceNorm2d(4, affine=True), (2, 4, 3, 3)),
                         (nn.LayerNorm(4), (2, 4)), (nn.RMSNorm(4), (2, 4)), (nn.LocalResponseNorm(2), (2, 4, 3)),
                         (nn.BatchNorm1d(4, momentum=None), (2, 4)), (nn.SyncBatchNorm(4), (2, 4))):  # fmt: skip
        out = layer.cuda()(r(*shape, grad=True))
        out.sum().backward()
        assert out.shape == shape
    assert isinstance(nn.SyncBatchNorm.convert_sync_batchnorm(norm), nn.SyncBatchNorm)
    with pytest.raises(ValueError, match="Expected more than 1 value per channel when training"):
        nn.BatchNorm1d(4).cuda()(r(1, 4))


def test_embeddings() -> None:
    table = nn.Embedding(10, 4, padding_idx=0, max_norm=1.0).cuda()
    table(torch.tensor([[1, 2], [0, 3]]).cuda()).sum().backward()
    assert table.weight.grad.shape == (10, 4)
    sparse = nn.Embedding(10, 4, sparse=True).cuda()
    sparse(torch.tensor([1, 1]).cuda()).sum().backward()
    assert sparse.weight.grad.is_sparse
    assert sparse.weight.grad.device == CUDA
    assert sparse.weight.grad.coalesce().to_dense().shape == (10, 4)
    bag = nn.EmbeddingBag(10, 4, mode="mean").cuda()
    out = bag(torch.tensor([1, 2, 3]).cuda(), torch.tensor([0, 2]).cuda())
    out.sum().backward()
    assert out.shape == (2, 4)
    tied = F.linear(r(2, 4), table.weight)
    assert tied.shape == (2, 10)


def test_stochastic_and_reparametrised() -> None:
    d = torch.distributions
    mean, scale = r(3, grad=True), torch.ones(3, device="cuda")
    sample = d.Normal(mean, scale).rsample()
    (sample.sum() + d.Normal(mean, scale).log_prob(sample).sum()).backward()
    assert mean.grad is not None
    logits = r(2, 5, grad=True)
    policy = d.Categorical(logits=logits)
    action = policy.sample()
    assert action.shape == (2,)
    (policy.log_prob(action).sum() + policy.entropy().sum()).backward()
    assert d.kl_divergence(d.Normal(mean, scale), d.Normal(0.0, scale)).shape == (3,)
    assert d.Bernoulli(logits=logits).sample().shape == (2, 5)
    assert d.Independent(d.Normal(mean, scale), 1).log_prob(sample).shape == ()
    assert d.MultivariateNormal(mean, torch.eye(3, device="cuda")).rsample((2,)).shape == (2, 3)
    assert d.Dirichlet(scale).rsample().shape == (3,)
    assert d.Beta(scale, scale).rsample().shape == (3,)
    assert d.Gamma(scale, scale).log_prob(scale).shape == (3,)
    assert d.MixtureSameFamily(d.Categorical(torch.ones(3, device="cuda")), d.Normal(mean, scale)).sample().shape == ()
    assert F.gumbel_softmax(logits, hard=True).shape == (2, 5)
    assert d.TransformedDistribution(d.Normal(mean, scale), [d.transforms.TanhTransform()]).rsample().shape == (3,)
