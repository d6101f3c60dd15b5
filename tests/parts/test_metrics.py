"""Metrics against scikit-learn and against counts by hand; baselines on data whose rule is known."""

from __future__ import annotations

import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.errors import ShapeError, UsageError
from trainworthy.parts.metrics import (
    confusion,
    iou,
    kmer_accuracy,
    perplexity,
    residue_kmer_accuracy,
    unigram_perplexity,
)


@pytest.mark.parametrize("seed", range(10))
def test_confusion_and_iou_are_those_of_scikit_learn(seed: int) -> None:
    from sklearn.metrics import confusion_matrix, jaccard_score

    torch.manual_seed(seed)
    prediction, target = torch.randint(3, (2, 5, 4)), torch.randint(3, (2, 5, 4))
    target[torch.rand(target.shape) < 0.2] = 255
    counted = target != 255
    p, t = prediction[counted].numpy(), target[counted].numpy()
    matrix = confusion(prediction, target, classes=3, ignore_index=255)
    assert matrix.tolist() == confusion_matrix(t, p, labels=[0, 1, 2]).tolist()
    present = sorted({*p.tolist(), *t.tolist()})  # of the others scikit-learn says 0, here NaN
    want = jaccard_score(t, p, labels=present, average=None)
    torch.testing.assert_close(iou(matrix)[present], torch.tensor(want, dtype=torch.float32))
    halves = [confusion(prediction[i], target[i], classes=3, ignore_index=255) for i in range(2)]
    assert torch.equal(halves[0] + halves[1], matrix)


def test_a_class_that_is_nowhere_does_not_count_in_the_mean() -> None:
    scores = iou(confusion(torch.tensor([0, 0, 1]), torch.tensor([0, 0, 0]), classes=3))
    assert scores[2].isnan()
    assert scores.nanmean().item() == pytest.approx((2 / 3 + 0) / 2)


def test_perplexity_of_a_uniform_guess_is_the_vocabulary_and_means_of_perplexities_are_larger() -> None:
    assert perplexity(50 * math.log(7), 50) == pytest.approx(7)
    assert perplexity(1e6, 1) == math.inf
    parts = [(30.0, 10), (5.0, 10)]
    mean = sum(perplexity(total, count) for total, count in parts) / 2
    assert mean > perplexity(35.0, 20) * 1.5


tokens = st.lists(st.integers(0, 4), min_size=1, max_size=30)


@given(train=tokens, test=tokens, smoothing=st.sampled_from([0.5, 1.0]))
def test_the_unigram_is_what_counting_says(train: list[int], test: list[int], smoothing: float) -> None:
    shares = [(train.count(token) + smoothing) / (len(train) + 5 * smoothing) for token in range(5)]
    want = math.exp(-sum(math.log(shares[token]) for token in test) / len(test))
    assert unigram_perplexity(train, test, vocabulary=5, smoothing=smoothing) == pytest.approx(want)


def test_without_smoothing_the_unseen_is_impossible_and_the_best_unigram_is_the_entropy() -> None:
    assert unigram_perplexity([0], [1], vocabulary=2, smoothing=0.0) == math.inf
    data = [0] * 6 + [1] * 2
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert unigram_perplexity(data, data, vocabulary=2, smoothing=0.0) == pytest.approx(math.exp(entropy))


def made(count: int, motif: str, rng: random.Random) -> list[str]:
    rows = ["".join(rng.choices("ACDEFGHIKL", k=30)) for _ in range(count)]
    return [row[:10] + motif + row[10:] for row in rows]


def test_k_mers_find_a_motif_and_nothing_where_there_is_none() -> None:
    rng = random.Random(0)
    train, test = made(60, "WWW", rng) + made(60, "YYY", rng), made(40, "WWW", rng) + made(40, "YYY", rng)
    labels, wanted = [0] * 60 + [1] * 60, [0] * 40 + [1] * 40
    assert kmer_accuracy(train, labels, test, wanted) > 0.97
    chance = kmer_accuracy(made(120, "", rng), labels, made(80, "", rng), wanted)
    assert 0.3 < chance < 0.7


def test_residues_are_labelled_by_their_surroundings_with_ever_shorter_ones() -> None:
    rng = random.Random(1)

    def rule(sequence: str) -> list[int]:
        return [int(place > 0 and sequence[place - 1] == "A") for place in range(len(sequence))]

    train, test = (["".join(rng.choices("ABC", k=40)) for _ in range(30)] for _ in range(2))
    score = residue_kmer_accuracy(train, [rule(s) for s in train], test, [rule(s) for s in test])
    alone = residue_kmer_accuracy(train, [rule(s) for s in train], test, [rule(s) for s in test], size=1)
    assert score > 0.99  # all but some that stand at an end
    assert 0.6 < alone < 0.75  # the commonest label, 2 of 3
    # By hand: ^AB and ABB were seen; BBB was not, B is mostly 1; Z was never seen, of all 1 is the commonest.
    assert residue_kmer_accuracy(["ABB"], [[0, 1, 1]], ["BBBZ"], [[1, 1, 1, 1]]) == 1.0
    assert residue_kmer_accuracy(["AB"], [[0, -100]], ["AB"], [[0, -100]]) == 1.0


def test_mistakes_are_said() -> None:
    with pytest.raises(ShapeError, match=r"prediction has shape \(2,\), target \(3,\)"):
        confusion(torch.zeros(2).long(), torch.zeros(3).long(), classes=2)
    with pytest.raises(UsageError, match="perplexity of 0 tokens"):
        perplexity(1.0, 0)
    with pytest.raises(UsageError, match="Token 5 is outside a vocabulary of 5"):
        unigram_perplexity([0], [5], vocabulary=5)
    with pytest.raises(UsageError, match="size is 2; it must be odd"):
        residue_kmer_accuracy([], [], [], [], size=2)
    with pytest.raises(UsageError, match="No residue"):
        residue_kmer_accuracy(["A"], [[0]], ["A"], [[-100]])
    with pytest.raises(ShapeError, match="Sequence 0 has 2 letters, but 1 labels"):
        residue_kmer_accuracy(["AB"], [[0]], ["A"], [[0]])
    with pytest.raises(ShapeError, match="2 sequences of train, but 1 labels"):
        kmer_accuracy(["A", "B"], [0], ["A"], [0])
