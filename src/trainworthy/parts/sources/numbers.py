"""Numbers and their English names, for translation: ``4 0 7`` -> ``four hundred seven``."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import Dataset

from trainworthy.errors import UsageError

PAD, START, END = 0, 1, 2
_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
TOKENS: tuple[str, ...] = ("<pad>", "<start>", "<end>", *"0123456789", *_ONES, *_TENS, "hundred", "thousand")
_ROW = {token: row for row, token in enumerate(TOKENS)}


def number_words(value: int) -> list[str]:
    """Return the name of a number below a million, as American English has it, without "and".

    >>> " ".join(number_words(407_019))
    'four hundred seven thousand nineteen'

    Raises:
        UsageError: If the number is below 0 or above 999,999.
    """
    if not 0 <= value < 1_000_000:
        raise UsageError(f"value is {value}; it must be from 0 to 999,999.")
    if value < 20:
        return [_ONES[value]]
    if value < 100:
        return [_TENS[value // 10 - 2]] + ([_ONES[value % 10]] if value % 10 else [])
    size, name = (1000, "thousand") if value >= 1000 else (100, "hundred")
    rest = number_words(value % size) if value % size else []
    return [*number_words(value // size), name, *rest]


def encode(words: list[str]) -> Tensor:
    """Return tokens, with START before and END after them.

    >>> encode(["7"]).tolist()
    [1, 10, 2]
    """
    return torch.tensor([START, *(_ROW[word] for word in words), END])


def decode(tokens: Tensor) -> str:
    """Return the words of tokens up to END.

    >>> decode(encode(["seven", "hundred"]))
    'seven hundred'
    """
    words = []
    for token in tokens.tolist():
        if token == END:
            break
        if token not in (PAD, START):
            words.append(TOKENS[token])
    return " ".join(words)


class NumberNames(Dataset[tuple[Tensor, Tensor]]):
    """Pairs of digits and words; numbers whose count of digits is drawn first, so that short ones are not rare.

    Shapes:   [index] -> digits (S,), words (T,), int64

    Args:
        count: Number of pairs; each number once.
        digits: Most digits of a number, at most 6.
        held_out: Whether these are the numbers for validation: multiples of 7, 0 left out. No number is in both.
        seed: Of the draw.
    """

    def __init__(self, count: int, *, digits: int = 6, held_out: bool = False, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        found: dict[int, None] = {}
        tries = 0
        while len(found) < count:
            tries += 1
            if tries > 100 * count:
                raise UsageError(f"There are no {count} numbers of at most {digits} digits.")
            size = int(torch.randint(1, digits + 1, (), generator=generator))
            value = int(torch.randint(0, 10**size, (), generator=generator))
            if (value > 0 and value % 7 == 0) == held_out:
                found[value] = None
        self.values = list(found)

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.values)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return a number in digits and in words."""
        value = self.values[index]
        return encode(list(str(value))), encode(number_words(value))
