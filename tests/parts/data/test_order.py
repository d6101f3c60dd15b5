"""Orders: each index once over the ranks, another at each pass, the same again from a saved state."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from trainworthy.errors import UsageError
from trainworthy.parts.data.order import LengthBucketSampler, ReshufflingSampler, epoch_order, seed_of


@given(size=st.integers(0, 50), seed=st.integers(0, 2**40), epoch=st.integers(0, 100))
def test_an_order_has_each_index_once_and_repeats(size: int, seed: int, epoch: int) -> None:
    order = epoch_order(size, seed=seed, epoch=epoch).tolist()
    assert sorted(order) == list(range(size))
    assert order == epoch_order(size, seed=seed, epoch=epoch).tolist()


def test_seed_and_epoch_do_not_add_up_to_the_same() -> None:
    assert len({seed_of(seed, epoch) for seed in range(30) for epoch in range(30)}) == 900
    assert epoch_order(20, seed=0, epoch=1).tolist() != epoch_order(20, seed=1, epoch=0).tolist()


@given(size=st.integers(1, 30), ranks=st.integers(1, 4), drop=st.booleans())
def test_the_ranks_share_the_samples(size: int, ranks: int, drop: bool) -> None:
    samplers = [ReshufflingSampler(range(size), num_replicas=ranks, rank=r, drop_last=drop) for r in range(ranks)]
    for _ in range(2):
        given_ = [list(sampler) for sampler in samplers]
        assert len({len(indices) for indices in given_}) == 1
        seen = Counter(index for indices in given_ for index in indices)
        assert set(seen) <= set(range(size))
        assert (len(seen) == size) or drop
        assert sum(seen.values()) - len(seen) < ranks


def test_it_is_torchs_sampler_with_the_epoch_set_at_each_pass() -> None:
    mine = ReshufflingSampler(range(20), num_replicas=2, rank=1, seed=3)
    theirs: DistributedSampler[int] = DistributedSampler(range(20), 2, 1, seed=3)  # type: ignore[arg-type]
    for epoch in range(3):
        theirs.set_epoch(epoch)
        assert list(mine) == list(theirs)
    mine.set_epoch(1)
    theirs.set_epoch(1)
    assert list(mine) == list(theirs)


def test_a_loader_that_forgets_set_epoch_still_gets_new_orders() -> None:
    data = TensorDataset(torch.arange(12))
    loader = DataLoader(data, batch_size=4, sampler=ReshufflingSampler(data))
    first, second = ([x for (batch,) in loader for x in batch.tolist()] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second


def test_a_saved_sampler_goes_on() -> None:
    one = ReshufflingSampler(range(9), seed=5)
    list(one)
    other = ReshufflingSampler(range(9))
    other.load_state_dict(one.state_dict())
    assert list(one) == list(other)


lengths = st.lists(st.integers(1, 20), min_size=1, max_size=40)


@given(sizes=lengths, batch=st.integers(1, 5), ranks=st.integers(1, 3), by_tokens=st.booleans(), drop=st.booleans())
def test_batches_hold_each_sample_and_ranks_get_as_many(
    sizes: list[int], batch: int, ranks: int, by_tokens: bool, drop: bool
) -> None:
    limit = {"tokens": 20 * batch} if by_tokens else {"batch_size": batch}
    samplers = [
        LengthBucketSampler(sizes, **limit, bucket=2, rank=rank, ranks=ranks, drop_last=drop) for rank in range(ranks)
    ]
    counts = [len(sampler) for sampler in samplers]
    given_ = [list(sampler) for sampler in samplers]
    assert [len(batches) for batches in given_] == counts == [counts[0]] * ranks
    seen = Counter(index for batches in given_ for indices in batches for index in indices)
    every = set(range(len(sizes)))
    assert set(seen) <= every if drop else set(seen) == every
    for batches in given_:
        for indices in batches:
            if by_tokens:
                assert max(sizes[index] for index in indices) * len(indices) <= 20 * batch
            else:
                assert len(indices) <= batch


def test_little_is_padded_and_the_order_changes() -> None:
    sizes: list[int] = torch.randint(1, 500, (2000,), generator=torch.Generator().manual_seed(0)).tolist()

    def padding(batches: list[list[int]]) -> float:
        padded = sum(max(sizes[i] for i in batch) * len(batch) for batch in batches)
        return 1 - sum(sizes) / padded

    sampler = LengthBucketSampler(sizes, batch_size=16, bucket=25)
    first, second = list(sampler), list(sampler)
    plain = [list(range(start, start + 16)) for start in range(0, 2000, 16)]
    assert padding(first) < 0.05
    assert padding(plain) > 0.4
    assert first != second
    by_length = [max(sizes[i] for i in batch) for batch in first]
    assert by_length != sorted(by_length)  # batches are shuffled
    assert (
        len({frozenset(batch) for batch in first} & {frozenset(batch) for batch in second}) < 5
    )  # and what is in them


def test_a_saved_bucket_sampler_goes_on_and_feeds_a_loader() -> None:
    one = LengthBucketSampler([1, 2, 3, 4, 5], batch_size=2)
    list(one)
    other = LengthBucketSampler([1, 2, 3, 4, 5], batch_size=2, seed=9)
    other.load_state_dict(one.state_dict())
    one.set_epoch(1)
    assert list(one) == list(other)
    loader = DataLoader(TensorDataset(torch.arange(5)), batch_sampler=one)
    assert sorted(x for (batch,) in loader for x in batch.tolist()) == list(range(5))


def test_mistakes_are_said() -> None:
    with pytest.raises(UsageError, match="give one of them"):
        LengthBucketSampler([1], batch_size=2, tokens=3)
    with pytest.raises(UsageError, match=r"Sample 1 has length 9, more than tokens \(=8\)"):
        LengthBucketSampler([1, 9], tokens=8)
