"""The module tree: laws of its sums, and folding."""

from __future__ import annotations

import pytest

from report.tape_builder import MIB, TapeBuilder, small_training, unfolded
from trainworthy.inspect.instances import module_instances
from trainworthy.inspect.tree import OUTSIDE, ModuleRow, module_tree
from trainworthy.tape.record import ModuleInfo, Tape
from trainworthy.tape.totals import step_totals

SUMMED = ("flops_forward", "flops_backward", "flops_optimizer", "pointwise_flops", "moved_bytes", "activation_bytes",
          "unknown_flop_ops", "num_ops")  # fmt: skip


def rows_of(tape: Tape, step: int = 2) -> dict[str, ModuleRow]:
    return {row.name: row for top in module_tree(tape, step) for row in top.walk()}


def check_sums(tape: Tape, step: int) -> None:
    """Check that children and what a module did itself add up, and the first level to the step."""
    tops = module_tree(tape, step)
    totals = step_totals(tape, step)
    assert sum(row.amounts.num_ops for row in tops) == totals.num_ops
    assert sum(row.amounts.unknown_flop_ops for row in tops) == totals.unknown_flop_ops
    other = totals.flops_by_phase.get("other", 0)
    assert sum(row.amounts.flops for row in tops) == totals.flops - other
    own = dict.fromkeys(SUMMED, 0)
    for instance in module_instances(tape, step):
        for name in SUMMED:
            own[name] += getattr(instance.amounts, name) if instance.amounts else 0
    for name in SUMMED:
        assert sum(getattr(row.amounts, name) for row in tops) == own[name]
    assert sum(row.parameters for row in tops) == sum(m.parameters * m.count for m in tape.model)
    for top in tops:
        for row in top.walk():
            for name in SUMMED:
                assert getattr(row.amounts, name) >= sum(getattr(c.amounts, name) for c in row.children)
            assert row.parameters >= sum(child.parameters for child in row.children)


@pytest.mark.parametrize("layers", [1, 2, 3, 12])
def test_sums(layers: int) -> None:
    check_sums(small_training(layers=layers), 2)


def test_folding_the_tape_changes_nothing() -> None:
    tape = small_training(layers=9)
    assert module_tree(tape, 2) == module_tree(unfolded(tape), 2)


def test_alike_layers_are_one_row() -> None:
    rows = rows_of(small_training(layers=12))
    assert rows["layers[0..11]"].count == 12
    assert rows["fc"].count == 12
    assert rows["fc"].amounts.flops_forward == 12 * 1000
    assert rows["fc"].amounts.flops_backward == 12 * 2000
    assert rows["layers[0..11]"].parameters == 12 << 20
    assert rows["layers[0..11]"].amounts.activation_bytes == 24 * 8 * MIB
    assert rows["Net"].children[0] is not rows["Net"]
    assert rows[OUTSIDE].depth == 0


def test_shares_are_of_the_step() -> None:
    tops = module_tree(small_training(), 2)
    assert sum(row.share or 0 for row in tops) == pytest.approx(1)


def test_a_different_layer_interrupts_the_fold() -> None:
    builder = TapeBuilder()
    for n in range(5):
        builder.op("mm", module="h.{}", numbers=(n,), flops=10 if n == 2 else 20)
    tape = builder.build(model=(
        ModuleInfo(template="h.{}", class_name="Linear", count=5, first=(0,), last=(4,), output_shape=(4,)),
    ))  # fmt: skip
    assert [row.name for row in module_tree(tape, 1)] == ["h[0..1]", "h[2]", "h[3..4]"]


def test_two_descriptions_of_one_template_are_told_apart() -> None:
    builder = TapeBuilder()
    for n in range(6):
        builder.op("conv" if n % 2 == 0 else "relu", module="net.{}", numbers=(n,), flops=100 if n % 2 == 0 else 0)
    tape = builder.build(model=(
        ModuleInfo(template="net.{}", class_name="Conv2d", count=3, first=(0,), last=(4,), parameters=7),
        ModuleInfo(template="net.{}", class_name="ReLU", count=3, first=(1,), last=(5,)),
    ))  # fmt: skip
    found = [(row.name, row.class_name, row.parameters) for row in module_tree(tape, 1)]
    assert found == [(f"net[{n}]", "Conv2d" if n % 2 == 0 else "ReLU", 7 if n % 2 == 0 else 0) for n in range(6)]


def test_irregular_modules_are_found_by_what_ran() -> None:
    builder = TapeBuilder()
    kinds = ["a", "b", "a", "a", "b", "a"]
    for n, kind in enumerate(kinds):
        builder.op(kind, module="net.{}", numbers=(n,))
    tape = builder.build(model=(
        ModuleInfo(template="net.{}", class_name="B", count=2, first=(1,), last=(4,)),
        ModuleInfo(template="net.{}", class_name="A", count=4, first=(0,), last=(5,)),
    ))  # fmt: skip
    instances = [i.info.class_name if i.info else None for i in module_instances(tape, 1)]
    assert instances == ["A", "B", "A", "A", "B", "A"]


def test_parameters_of_modules_that_never_ran_are_counted() -> None:
    builder = TapeBuilder()
    builder.op("mm", module="used")
    tape = builder.build(model=(
        ModuleInfo(template="used", class_name="Linear", parameters=3),
        ModuleInfo(template="unused", class_name="Linear", parameters=5),
    ))  # fmt: skip
    assert sum(row.parameters for row in module_tree(tape, 1)) == 8


def test_a_model_without_descriptions_still_has_a_tree() -> None:
    builder = TapeBuilder()
    builder.op("mm", module="encoder.fc", flops=4)
    (top,) = module_tree(builder.build(), 1)
    assert (top.name, top.amounts.flops) == ("encoder.fc", 4)
