"""Letters and numbers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.errors import UsageError
from trainworthy.parts.data.alphabet import ALIGNED_PROTEIN, DNA, PROTEIN, Alphabet


@given(st.text("ACDEFGHIKLMNPQRSTVWYX", max_size=20))
def test_letters_come_back(sequence: str) -> None:
    tokens = PROTEIN.encode(sequence)
    assert PROTEIN.decode(tokens) == sequence
    assert PROTEIN.decode(torch.cat([tokens, torch.zeros(3, dtype=torch.long)])) == sequence
    assert PROTEIN.encode(sequence.lower()).tolist() == tokens.tolist()


@given(st.text("ACGTN", min_size=1, max_size=20))
def test_one_hot_is_a_loop(sequence: str) -> None:
    want = [[float(letter == column) for column in "ACGT"] for letter in sequence]
    assert DNA.one_hot(sequence).tolist() == want


def test_rare_and_ambiguous_residues_are_unknown_and_gaps_are_letters_of_an_alignment() -> None:
    assert PROTEIN.encode("BZJUOX").tolist() == [1] * 6
    assert PROTEIN.size == 22
    assert ALIGNED_PROTEIN.encode("-").tolist() == [22]
    assert (PROTEIN.pad, PROTEIN.unknown_token) == (0, 1)


def test_mistakes_are_said() -> None:
    with pytest.raises(UsageError, match="'-' at place 2"):
        PROTEIN.encode("M-V")
    with pytest.raises(UsageError, match="'a' is twice"):
        Alphabet("abA")
