"""What runs on one rank only."""

from __future__ import annotations

import ast

import pytest

from trainworthy.check.static.ranks import asks_which_rank, on_one_rank


@pytest.mark.parametrize("test", ["rank == 0", "is_main_process()", "accelerator.is_local_main_process",
                                  "config['rank'] < 1", "self.global_rank > 0"])  # fmt: skip
def test_conditions_that_ask_which_rank_it_is(test: str) -> None:
    assert asks_which_rank(ast.parse(test, mode="eval"))


@pytest.mark.parametrize(
    "test", ["world_size > 1", "__name__ == '__main__'", "num_ranks == 8", "root_dir", "step == 0"]
)
def test_conditions_that_do_not(test: str) -> None:
    assert not asks_which_rank(ast.parse(test, mode="eval"))


@pytest.mark.parametrize(
    ("program", "alone"),
    [
        ("def f():\n    save()", False),
        ("def f():\n    if rank == 0:\n        save()", True),
        ("def f():\n    if rank != 0:\n        return\n    save()", True),
        ("def f():\n    save()\n    if rank != 0:\n        return", False),
        ("@rank_zero_only\ndef f():\n    save()", True),
        ("def f():\n    save()\nif rank == 0:\n    f()", True),
        ("def f():\n    save()\nif rank == 0:\n    f()\nf()", False),
    ],
)
def test_callers_are_asked_too(program: str, alone: bool) -> None:
    tree = ast.parse(program)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    save = next(one for one in ast.walk(tree) if isinstance(one, ast.Call) and ast.unparse(one) == "save()")
    assert on_one_rank(save, parents) is alone
