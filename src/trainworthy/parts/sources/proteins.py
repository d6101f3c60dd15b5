"""Protein-like sequences made by rule; every item follows from its number, and none is a real protein.

Secondary structure comes from a hidden chain of segments; a motif is planted or not; alignments have pairs of columns
that vary together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

STATES: Final = "HEC"  # helix, strand, coil
_LETTERS: Final = "ACDEFGHIKLMNPQRSTVWY"
_SHORTEST: Final = {"H": 7, "E": 5, "C": 3}
_LONGEST: Final = {"H": 18, "E": 11, "C": 9}
_NEXT: Final = {"H": "CCCE", "E": "CCCH", "C": "HE"}
_HYDROPHOBIC: Final = "AILMFVWY"
_POLAR: Final = "DEKNQRST"
_COIL: Final = "GPSNDTKQEAVL"
# Ratios of the frequency in a state to that in all, rounded from Chou and Fasman 1978, table 1 (P alpha, P beta).
_HELIX_RATIO: Final = dict(zip(
    _LETTERS, (1.42, 0.70, 1.01, 1.51, 1.13, 0.57, 1.00, 1.08, 1.16, 1.21, 1.45, 0.67, 0.57, 1.11, 0.98, 0.77, 0.83,
               1.06, 1.08, 0.69), strict=True))  # fmt: skip
_STRAND_RATIO: Final = dict(zip(
    _LETTERS, (0.83, 1.19, 0.54, 0.37, 1.38, 0.75, 0.87, 1.60, 0.74, 1.30, 1.05, 0.89, 0.55, 1.10, 0.93, 0.75, 1.19,
               1.70, 1.37, 1.47), strict=True))  # fmt: skip
_TURN: Final = 100.0  # degrees from a residue of a helix to the next
MOTIF: Final = "C..C(8 to 12)H...H"


@dataclass(frozen=True, slots=True)
class Protein:
    """A made sequence.

    Attributes:
        sequence: Amino acids.
        structure: H, E or C of each.
        has_motif: Whether the motif is planted: C, two others, C, 8 to 12 others, H, three others, H. A sequence
            without it has the same four letters at other distances.
    """

    sequence: str
    structure: str
    has_motif: bool


def made_protein(index: int, *, seed: int = 0, shortest: int = 40, longest: int = 90) -> Protein:
    """Make the protein of a number.

    Segments of helix, strand and coil follow one another. In a helix, hydrophobic residues lie on one side (from one to
    the next it turns by 100 degrees), in a strand every other one is hydrophobic, as in amphipathic segments of
    proteins; the amino acid within its class follows the propensities of Chou and Fasman. A residue alone therefore
    says little, its neighbourhood much.
    """
    draw = np.random.default_rng((seed, index))
    length = int(draw.integers(shortest, longest + 1))
    structure = _segments(draw, length)
    letters = _residues(draw, structure)
    has_motif = bool(draw.integers(0, 2))
    _plant(draw, letters, has_motif)
    return Protein("".join(letters), structure, has_motif)


def made_alignment(
    index: int, *, seed: int = 0, rows: int = 48, columns: int = 24, pairs: int = 5
) -> tuple[list[str], list[tuple[int, int]]]:
    """Make an alignment and the pairs of columns that are in contact.

    Each column has an amino acid of its own that a row keeps in seven of ten cases. In a contact, the two columns
    agree: in a row, either both keep theirs or both change to charges of opposite sign or to two hydrophobic ones, so
    that only the two columns together show it. A tenth of all places is a gap.

    Returns:
        The rows, and the contacts (i, j) with i + 4 <= j; no column is in two.
    """
    draw = np.random.default_rng((seed, 1, index))
    own = [_LETTERS[draw.integers(0, 20)] for _ in range(columns)]
    table = [[letter if draw.random() < 0.7 else _LETTERS[draw.integers(0, 20)] for letter in own] for _ in range(rows)]
    contacts: list[tuple[int, int]] = []
    free = list(draw.permutation(columns))
    while len(contacts) < pairs and len(free) > 1:
        first = int(free.pop())
        second = next((int(each) for each in free if abs(int(each) - first) >= 4), None)
        if second is None:
            continue
        free.remove(second)
        contacts.append((min(first, second), max(first, second)))
        for row in table:
            row[first], row[second] = _pair(draw, own[first], own[second])
    text = ["".join("-" if number and draw.random() < 0.1 else letter for letter in row)
            for number, row in enumerate(table)]  # fmt: skip
    return text, sorted(contacts)


def _segments(draw: np.random.Generator, length: int) -> str:
    text, state = "", "C"
    while len(text) < length:
        text += state * int(draw.integers(_SHORTEST[state], _LONGEST[state] + 1))
        state = _NEXT[state][draw.integers(0, len(_NEXT[state]))]
    return text[:length]


def _residues(draw: np.random.Generator, structure: str) -> list[str]:
    letters, angle = [], 0.0
    for place, state in enumerate(structure):
        if place == 0 or structure[place - 1] != state:
            angle = float(draw.uniform(0, 360))  # a segment begins on a random side
        angle += _TURN if state == "H" else 180.0
        if draw.random() < 0.15 or state == "C":
            letters.append(_COIL[draw.integers(0, len(_COIL))])
            continue
        among = _HYDROPHOBIC if np.cos(np.radians(angle)) > 0 else _POLAR
        ratio = _HELIX_RATIO if state == "H" else _STRAND_RATIO
        shares = np.array([ratio[letter] for letter in among])
        letters.append(among[int(draw.choice(len(among), p=shares / shares.sum()))])
    return letters


def _plant(draw: np.random.Generator, letters: list[str], has_motif: bool) -> None:
    gap = int(draw.integers(8, 13))
    steps = (0, 3, gap + 4, gap + 8) if has_motif else (0, 4, gap + 4, gap + 7)
    start = int(draw.integers(0, len(letters) - steps[-1]))
    for step, letter in zip(steps, "CCHH", strict=True):
        letters[start + step] = letter


def _pair(draw: np.random.Generator, first: str, second: str) -> tuple[str, str]:
    kind = draw.random()
    if kind < 0.4:
        return first, second
    if kind < 0.7:
        charges = ("K", "R"), ("D", "E")
        side = int(draw.integers(0, 2))
        return charges[side][draw.integers(0, 2)], charges[1 - side][draw.integers(0, 2)]
    return _HYDROPHOBIC[draw.integers(0, 8)], _HYDROPHOBIC[draw.integers(0, 8)]
