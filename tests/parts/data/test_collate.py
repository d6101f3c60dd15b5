"""Batches of padded samples."""

from __future__ import annotations

import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.errors import UsageError
from trainworthy.parts.data.collate import PadCollate
from trainworthy.parts.masks import Side


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    side=st.sampled_from(["left", "right"]),
    multiple=st.sampled_from([1, 4, 8]),
)
def test_what_is_real_comes_back_and_the_rest_is_padding(sizes: list[int], side: Side, multiple: int) -> None:
    samples = [{"x": torch.arange(1, size + 1), "y": torch.full((size, 2), 7.0)} for size in sizes]
    batch = PadCollate(values={"x": 0, "y": -1.0}, side=side, multiple_of=multiple)(samples)
    length = batch["x"].shape[1]
    assert length % multiple == 0
    assert length - max(sizes) < multiple
    assert batch["lengths"].tolist() == sizes
    assert torch.equal(batch["real"], batch["x"] != 0)
    for row, sample in enumerate(samples):
        assert torch.equal(batch["x"][row][batch["real"][row]], sample["x"])
        assert torch.equal(batch["y"][row][batch["real"][row]], sample["y"])
        assert (batch["y"][row][~batch["real"][row]] == -1).all()


def test_it_travels_to_workers() -> None:
    collate = pickle.loads(pickle.dumps(PadCollate(values={"x": 3})))
    assert collate([{"x": [1]}, {"x": [1, 2]}])["x"].tolist() == [[1, 3], [1, 2]]


def test_mistakes_are_said() -> None:
    collate = PadCollate(values={"x": 0})
    with pytest.raises(UsageError, match=r"Sample 1 of the batch has keys \['x', 'y'\], the first \['x'\]"):
        collate([{"x": [1]}, {"x": [1], "y": 2}])
    with pytest.raises(UsageError, match="no key 'x'"):
        collate([{"z": [1]}])
    with pytest.raises(UsageError, match="a key 'real', which the batch adds"):
        collate([{"x": [1], "real": 1}])
