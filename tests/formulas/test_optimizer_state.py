from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainworthy.errors import FormulaError
from trainworthy.formulas.optimizer_state import OPTIMIZERS, optimizer_bytes_per_parameter, optimizer_state_bytes

MAKERS: dict[str, Any] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "sgd-momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adam-amsgrad": lambda p: torch.optim.Adam(p, amsgrad=True),
    "adamax": torch.optim.Adamax,
    "rmsprop": torch.optim.RMSprop,
    "rmsprop-momentum": lambda p: torch.optim.RMSprop(p, momentum=0.9),
    "rmsprop-centered-momentum": lambda p: torch.optim.RMSprop(p, momentum=0.9, centered=True),
    "adagrad": torch.optim.Adagrad,
    "adadelta": torch.optim.Adadelta,
    "adafactor": torch.optim.Adafactor,
}
shapes_of = st.lists(st.lists(st.integers(1, 6), max_size=4).map(tuple), min_size=1, max_size=4)


@settings(max_examples=150)
@given(st.sampled_from(sorted(MAKERS)), shapes_of, st.sampled_from([torch.float32, torch.bfloat16, torch.float64]))
def test_states_of_torch_s_optimizers(name: str, shapes: list[tuple[int, ...]], dtype: torch.dtype) -> None:
    parameters = [torch.ones(shape, dtype=dtype, requires_grad=True) for shape in shapes]
    optimizer = MAKERS[name](parameters)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    kept = sum(
        value.numel() * value.element_size()
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    )
    size = torch.empty((), dtype=dtype).element_size()
    assert optimizer_state_bytes(optimizer=name, shapes=shapes, bytes_per_element=size) == kept


def test_every_optimizer_of_torch_that_is_listed_is_tested() -> None:
    assert set(OPTIMIZERS) - set(MAKERS) == {"lion", "adam-8bit"}  # of other packages


@given(st.sampled_from(sorted(OPTIMIZERS)), st.integers(64, 3000), st.integers(64, 3000))
def test_bytes_a_parameter_are_the_limit_of_large_tensors(name: str, rows: int, columns: int) -> None:
    exact = optimizer_state_bytes(optimizer=name, shapes=[(rows, columns)])
    rate = optimizer_bytes_per_parameter(optimizer=name, shape=(rows, columns))
    assert exact - rate * rows * columns == pytest.approx(4 if OPTIMIZERS[name].counts_steps else 0, abs=1e-3)


def test_goldens_of_8_bit_states() -> None:
    # Dettmers et al. 2022: two bytes a parameter, and a float32 a block; small tensors stay in 32 bits.
    assert optimizer_state_bytes(optimizer="adam-8bit", shapes=[(4096,)]) == 2 * (4096 + 16 * 4)
    assert optimizer_state_bytes(optimizer="adam-8bit", shapes=[(4095,)]) == 8 * 4095
    assert optimizer_state_bytes(optimizer="adam-8bit", shapes=[(4097,)]) == 2 * (4097 + 17 * 4)
    assert optimizer_state_bytes(optimizer="lion", shapes=[(10, 10)]) == 400


def test_goldens_of_seven_billion() -> None:
    rates = {name: optimizer_bytes_per_parameter(optimizer=name) * 7e9 / 1e9 for name in OPTIMIZERS}
    assert rates["adamw"] == 56
    assert rates["sgd-momentum"] == rates["adagrad"] == rates["rmsprop"] == rates["lion"] == 28
    assert rates["adam-8bit"] == pytest.approx(14.2, abs=0.02)
    assert rates["adafactor"] < 0.02


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"optimizer": "adamm"}, "optimizer is 'adamm'"), ({"shapes": [(2, -1)]}, "shapes is -1"),
        ({"bytes_per_element": 0}, "bytes_per_element is 0"),
    ],
)  # fmt: skip
def test_nonsense_is_refused(changed: dict[str, Any], message: str) -> None:
    call: dict[str, Any] = {"optimizer": "adam", "shapes": [(2, 3)], **changed}
    with pytest.raises(FormulaError, match=message):
        optimizer_state_bytes(**call)
