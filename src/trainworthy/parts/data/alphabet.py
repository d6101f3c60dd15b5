"""Letters to numbers and back, and to one-hot codes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from trainworthy.errors import UsageError


@dataclass(frozen=True, slots=True)
class Alphabet:
    """Letters and the number of each: 0 is padding, 1 is unknown, the letters follow.

    Lower case counts as upper case.

    Attributes:
        letters: The letters, each once.
        unknown: Letters that become the unknown token; any other is an error.

    >>> PROTEIN.encode("MKX")
    tensor([12, 10,  1])
    >>> PROTEIN.decode(PROTEIN.encode("mkx"))
    'MKX'

    Raises:
        UsageError: If a letter is there twice.
    """

    letters: str
    unknown: str = ""
    _numbers: dict[str, int] | None = None

    def __post_init__(self) -> None:
        """Number the letters."""
        every = self.letters + self.unknown
        double = next((letter for letter in every if every.upper().count(letter.upper()) > 1), None)
        if double is not None:
            raise UsageError(f"Letter {double!r} is twice in the alphabet.")
        numbers = {letter.upper(): index for index, letter in enumerate(self.letters, start=2)}
        numbers |= dict.fromkeys(self.unknown.upper(), self.unknown_token)
        object.__setattr__(self, "_numbers", numbers)

    @property
    def pad(self) -> int:
        """The token of padding."""
        return 0

    @property
    def unknown_token(self) -> int:
        """The token of what is unknown."""
        return 1

    @property
    def size(self) -> int:
        """Number of tokens."""
        return len(self.letters) + 2

    def encode(self, sequence: Iterable[str]) -> Tensor:
        """Return the tokens.

        Shapes:   L letters -> (L,), int64

        Raises:
            UsageError: If a letter is not in the alphabet.
        """
        numbers = self._numbers or {}
        letters = list(sequence)
        tokens = [numbers.get(letter.upper(), -1) for letter in letters]
        if -1 in tokens:
            place = tokens.index(-1)
            raise UsageError(f"{letters[place]!r} at place {place + 1} is no letter of {self.letters!r}.")
        return torch.tensor(tokens, dtype=torch.long)

    def decode(self, tokens: Tensor) -> str:
        """Return the letters; padding is left out.

        Shapes:   (L,) -> L letters
        """
        mark = (self.unknown or "?")[0]
        return "".join(mark if token == 1 else self.letters[token - 2] for token in tokens.tolist() if token)

    def one_hot(self, sequence: Iterable[str]) -> Tensor:
        """Return a row a letter with a 1 in its column; the row of an unknown letter is 0.

        Shapes:   L letters -> (L, len(letters)), float32

        >>> Alphabet("ACGT", unknown="N").one_hot("CN")
        tensor([[0., 1., 0., 0.],
                [0., 0., 0., 0.]])
        """
        return torch.nn.functional.one_hot(self.encode(sequence), self.size)[:, 2:].float()


PROTEIN = Alphabet("ACDEFGHIKLMNPQRSTVWY", unknown="XBZJUO")
"""The 20 amino acids; B, Z and J (either of two), U and O (rare) and X count as unknown."""
ALIGNED_PROTEIN = Alphabet("ACDEFGHIKLMNPQRSTVWY-", unknown="XBZJUO")
"""The same with the gap of an alignment."""
DNA = Alphabet("ACGT", unknown="NRYSWKMBDHV")
"""The four bases; the codes of several count as unknown."""
