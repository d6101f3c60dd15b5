"""The zoo itself: its models have the published sizes, counted in two independent ways."""

import pytest
import torch

from zoo import count
from zoo.published import BY_NAME, MODELS, Published
from zoo.small import CASES, train_step


@pytest.mark.parametrize("row", MODELS, ids=[row.name for row in MODELS])
def test_sizes_are_the_published_ones(row: Published) -> None:
    """Parameters are exact; multiply-adds agree to the last published digit in each source."""
    model = count.build_on_meta(row.build)
    layers, attention = count.macs_by_hooks(model, row.input_size)

    assert row.parameters == count.parameters(model)
    assert row.macs == layers + attention == count.macs_by_dispatch(model, row.input_size)
    if row.gmacs is not None:
        assert row.gmacs == round(row.macs / 1e9, 3)
    if row.timm_gmacs is not None:
        fvcore_macs = row.macs + count.fvcore_extra(model, row.input_size)
        assert row.timm_gmacs == pytest.approx(fvcore_macs / 1e9, abs=0.005)


@pytest.mark.parametrize("name", ["googlenet", "shufflenet_v2_x1_0", "swin_t", "mobilenet_v3_small"])
def test_models_train(name: str) -> None:
    """A real backward pass reaches every parameter."""
    row = BY_NAME[name]
    model = row.build()
    model(torch.rand(2, *row.input_size)).logsumexp(dim=-1).sum().backward()

    untouched = [name for name, p in model.named_parameters() if p.grad is None]
    assert not untouched


@pytest.mark.parametrize("name", CASES)
def test_small_cases_train(name: str) -> None:
    """Two real steps change the weights, and the loss stays a number."""
    torch.manual_seed(0)
    case = CASES[name]("cpu")
    optimizer = case.make_optimizer(case.model.parameters())
    before = [p.detach().clone() for p in case.model.parameters()]
    losses = [train_step(case, optimizer) for _ in range(2)]

    assert all(loss.isfinite() for loss in losses)
    for old, (parameter_name, new) in zip(before, case.model.named_parameters(), strict=True):
        assert not torch.equal(old, new), parameter_name
