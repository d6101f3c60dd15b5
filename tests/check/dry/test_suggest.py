"""Names of dimensions from how they change."""

from __future__ import annotations

from typing import Any

from trainworthy.check.dry.suggest import Varied, suggestions


def noted(*calls: dict[str, Any], name: str = "Block") -> dict[str, Any]:
    return {"class": name, "path": "model.py", "line": 3, "calls": list(calls)}


def call(batch: int, time: int, width: int = 64) -> dict[str, Any]:
    return {
        "x": ["Float", [batch, time - 1, width]], "scores": ["Float", [batch, 4, time, time]],
        "flat": ["Int", [batch * time]], "return": ["Float", [batch, 10]],
    }  # fmt: skip


BATCH = Varied(name="batch", before=8, after=7, classes=[noted(call(7, 16))])
TIME = Varied(name="time", before=16, after=13, classes=[noted(call(8, 13))])


def test_dimensions_are_named_by_what_they_change_with() -> None:
    (found,) = suggestions([noted(call(8, 16))], [BATCH, TIME])
    assert found.annotations == {
        "x": 'Float[Tensor, "batch time-1 64"]', "scores": 'Float[Tensor, "batch 4 time time"]',
        "flat": 'Int[Tensor, "batch*time"]', "return": 'Float[Tensor, "batch 10"]',
    }  # fmt: skip
    assert found.asserts == (
        "assert x.ndim == 3 and x.shape[2] == 64",
        "assert scores.ndim == 4 and scores.shape[1] == 4 and scores.shape[0] == x.shape[0]"
        " and scores.shape[3] == scores.shape[2]",
        "assert flat.ndim == 1",
    )


def test_without_other_rehearsals_sizes_are_numbers() -> None:
    (found,) = suggestions([noted(call(8, 16))])
    assert found.annotations["x"] == 'Float[Tensor, "8 15 64"]'


def test_what_differs_from_call_to_call_has_one_name_where_it_is_always_equal() -> None:
    one = {"x": ["Float", [8, 3, 32, 32]], "return": ["Float", [8, 6, 32, 32]]}
    two = {"x": ["Float", [8, 6, 16, 16]], "return": ["Float", [8, 12, 16, 16]]}
    fewer = [{n: [k, [7, *s[1:]]] for n, (k, s) in c.items()} for c in (one, two)]
    batch = Varied(name="batch", before=8, after=7, classes=[noted(*fewer)])
    (found,) = suggestions([noted(one, two)], [batch])
    assert found.annotations == {
        "x": 'Float[Tensor, "batch channels height height"]',
        "return": 'Float[Tensor, "batch channels_out height height"]',
    }


def test_nothing_is_said_about_a_dimension_that_follows_no_rule() -> None:
    odd = Varied(name="batch", before=8, after=7, classes=[noted({"x": ["Float", [7, 5]]})])
    assert list(suggestions([noted({"x": ["Float", [8, 9]]})], [odd])) == []
    ranks = noted({"x": ["Float", [8, 9]]}, {"x": ["Float", [8]]})
    assert list(suggestions([ranks])) == []
