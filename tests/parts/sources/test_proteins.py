"""Made proteins: segments are as long as stated, the motif is there or not, contacts vary together."""

from __future__ import annotations

import re
from collections import Counter
from itertools import groupby
from math import log

from trainworthy.parts.sources.proteins import STATES, made_alignment, made_protein


def test_a_protein_follows_from_its_number() -> None:
    assert made_protein(4) == made_protein(4)
    assert made_protein(4) != made_protein(4, seed=1)


def test_segments_have_their_lengths() -> None:
    bounds = {"H": (7, 18), "E": (5, 11), "C": (3, 9)}
    for index in range(100):
        protein = made_protein(index)
        assert 40 <= len(protein.sequence) == len(protein.structure) <= 90
        assert set(protein.structure) <= set(STATES)
        runs = [(state, len(list(group))) for state, group in groupby(protein.structure)]
        for state, length in runs[:-1]:  # the last is cut
            low, high = bounds[state]
            assert low <= length <= high


def test_the_motif_is_where_it_should_be() -> None:
    motif = re.compile("(?=C..C.{8,12}H...H)")
    proteins = [made_protein(index) for index in range(200)]
    assert all(motif.search(each.sequence) for each in proteins if each.has_motif)
    without = [each for each in proteins if not each.has_motif]
    assert 60 < len(without) < 140
    assert sum(bool(motif.search(each.sequence)) for each in without) <= 2  # by chance


def test_helices_have_two_sides_and_strands_alternate() -> None:
    hydrophobic = set("AILMFVWY")
    same = {"H": Counter[int](), "E": Counter[int]()}
    pairs = {"H": Counter[int](), "E": Counter[int]()}
    for index in range(150):
        protein = made_protein(index)
        for lag in (1, 2, 4):
            for place in range(len(protein.structure) - lag):
                if len(set(protein.structure[place : place + lag + 1])) == 1 and protein.structure[place] != "C":
                    state = protein.structure[place]
                    first, second = protein.sequence[place], protein.sequence[place + lag]
                    same[state][lag] += (first in hydrophobic) == (second in hydrophobic)
                    pairs[state][lag] += 1

    def share(state: str, lag: int) -> float:
        return same[state][lag] / pairs[state][lag]

    assert share("H", 4) > 0.65  # 400 degrees is nearly a turn
    assert share("H", 2) < 0.45  # 200 is the other side
    assert share("E", 2) > 0.65
    assert share("E", 1) < 0.35


def test_columns_in_contact_share_information() -> None:
    rows, contacts = made_alignment(0, rows=2000, columns=12, pairs=2)
    columns = list(zip(*rows, strict=True))

    def information(i: int, j: int) -> float:
        pairs = [(a, b) for a, b in zip(columns[i], columns[j], strict=True) if "-" not in (a, b)]
        joint, first, second = Counter(pairs), Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
        count = len(pairs)
        return sum(n / count * log(n * count / (first[a] * second[b])) for (a, b), n in joint.items())

    found = {(i, j): information(i, j) for i in range(12) for j in range(i + 1, 12)}
    assert all(j - i >= 4 for i, j in contacts)
    best = sorted(found, key=lambda pair: -found[pair])[:2]
    assert sorted(best) == contacts


def test_the_first_row_has_no_gaps() -> None:
    rows, _ = made_alignment(3)
    assert "-" not in rows[0]
    assert 0.05 < sum(row.count("-") for row in rows[1:]) / (47 * 24) < 0.15
