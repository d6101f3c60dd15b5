"""Which words are others with a slip of the fingers."""

from __future__ import annotations

import pytest

from trainworthy.check.static.slips import is_slip


@pytest.mark.parametrize(("key", "name"), [("drouput", "dropout"), ("distribued", "distributed"),
                                           ("deivce", "device"), ("learnning_rate", "learning_rate")])  # fmt: skip
def test_slips(key: str, name: str) -> None:
    assert is_slip(key, name)
    assert not is_slip(name, name)


@pytest.mark.parametrize(("key", "name"), [("layers", "layer"), ("num_heads1", "num_heads2"), ("encode", "encoder"),
                                           ("normalise", "normalize"), ("colour", "color"), ("max_size", "min_size"),
                                           ("batch_size", "batchsize"), ("", "device")])  # fmt: skip
def test_words_of_their_own(key: str, name: str) -> None:
    assert not is_slip(key, name)
