"""Metrics that add up over batches and ranks, and baselines that a model must beat."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from trainworthy.errors import ShapeError, UsageError


def confusion(prediction: Tensor, target: Tensor, *, classes: int, ignore_index: int = -100) -> Tensor:
    """Count how often each class was taken for each; the matrices of batches and ranks add up.

    Shapes:   prediction and target (...), class indices -> (classes, classes), int64: row the target, column the
              prediction

    >>> confusion(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), classes=2)
    tensor([[1, 1],
            [0, 1]])

    Raises:
        ShapeError: If prediction and target have different shapes.
    """
    if prediction.shape != target.shape:
        raise ShapeError(f"prediction has shape {tuple(prediction.shape)}, target {tuple(target.shape)}.")
    counted = target != ignore_index
    pairs = target[counted] * classes + prediction[counted]
    return torch.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def iou(matrix: Tensor) -> Tensor:
    """Return the intersection over union of each class; NaN for one that is neither there nor predicted.

    The mean over the classes is ``iou(matrix).nanmean()``. It is computed from counts of the whole data set: a mean of
    the IoUs of batches is another number.

    Shapes:   (classes, classes) of :func:`confusion` -> (classes,)
    Source:   Long et al. 2015 (arXiv 1411.4038), section 5

    >>> iou(torch.tensor([[1, 1], [0, 1]]))
    tensor([0.5000, 0.5000])
    """
    both = matrix.diagonal().double()
    return (both / (matrix.sum(0) + matrix.sum(1) - matrix.diagonal())).float()


def perplexity(total: float, count: float) -> float:
    """Return the perplexity of a summed negative log-likelihood in nats; infinity where it overflows.

    Average the logarithms and take the exponential once: a mean of perplexities of batches is larger.

    >>> perplexity(4 * math.log(10), 4)
    10.000000000000002

    Raises:
        UsageError: If nothing was counted.
    """
    if count <= 0:
        raise UsageError(f"The perplexity of {count:g} tokens is not defined.")
    mean = total / count
    return math.exp(mean) if mean < 709 else math.inf


def unigram_perplexity(train: Iterable[int], test: Iterable[int], *, vocabulary: int, smoothing: float = 1.0) -> float:
    """Return the perplexity of the model that knows only how often each token is: what a language model must beat.

    Args:
        train: Tokens that are counted.
        test: Tokens that are predicted.
        vocabulary: Number of tokens that there can be.
        smoothing: Added to each count, so that a token that was never seen is not impossible.

    >>> round(unigram_perplexity([0, 0, 0, 1], [0, 1], vocabulary=2, smoothing=0.0), 3)
    2.309

    Raises:
        UsageError: If there is no token to predict or a token is outside the vocabulary.
    """
    counts, asked = Counter(train), Counter(test)
    outside = next((token for token in (*counts, *asked) if not 0 <= token < vocabulary), None)
    if outside is not None:
        raise UsageError(f"Token {outside} is outside a vocabulary of {vocabulary}.")
    total = counts.total() + smoothing * vocabulary
    nats = 0.0
    for token, times in asked.items():
        share = (counts[token] + smoothing) / total if total else 0.0
        nats += math.inf if share == 0 else -times * math.log(share)
    return perplexity(nats, asked.total())


def kmer_accuracy(
    train: Sequence[str], labels: Sequence[int], test: Sequence[str], test_labels: Sequence[int], *, size: int = 3
) -> float:
    """Return the accuracy of a linear model on counts of k-mers: what a network on whole sequences must beat.

    Counts of all parts of 1 to ``size`` letters, as shares of the sequence, to logistic regression.

    Args:
        train: Sequences that are learned from.
        labels: Their labels.
        test: Sequences that are asked about.
        test_labels: Their labels.
        size: Longest part.

    >>> kmer_accuracy(["AAAA", "CCCC", "AAAC", "CCCA"], [0, 1, 0, 1], ["AACA", "CACC"], [0, 1])
    1.0

    Raises:
        ShapeError: If there are not as many labels as sequences.
    """
    from trainworthy.parts.need import need

    need("sklearn", "The baseline of k-mers")
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    for name, rows, given in (("train", train, labels), ("test", test, test_labels)):
        if len(rows) != len(given):
            raise ShapeError(f"{len(rows)} sequences of {name}, but {len(given)} labels.")
    shares = TfidfVectorizer(analyzer="char", ngram_range=(1, size), lowercase=False, use_idf=False)
    model = make_pipeline(shares, LogisticRegression(C=10.0, max_iter=2000))
    return float(model.fit(train, labels).score(test, test_labels))


def residue_kmer_accuracy(
    train: Sequence[str], labels: Sequence[Sequence[int]], test: Sequence[str], test_labels: Sequence[Sequence[int]],
    *, size: int = 3, ignore_index: int = -100,
) -> float:  # fmt: skip
    """Return the accuracy of the model that gives a residue the commonest label of its surroundings.

    The label is that of the k-mer around the residue; if it was never seen, of a k-mer shorter by 2, down to the
    residue itself and to the commonest label of all.

    Args:
        train: Sequences that are learned from.
        labels: A label for each of their residues.
        test: Sequences that are asked about.
        test_labels: Theirs.
        size: Letters of the k-mer, odd.
        ignore_index: Labels that do not count.

    >>> residue_kmer_accuracy(["ABAB"], [[0, 1, 0, 1]], ["BA"], [[1, 0]])
    1.0

    Raises:
        UsageError: If the size is even, or nothing counts.
        ShapeError: If a sequence has not as many labels as letters.
    """
    if size < 1 or size % 2 == 0:
        raise UsageError(f"size is {size}; it must be odd, with the residue in the middle.")
    seen: dict[str, Counter[int]] = {}
    for sequence, given in _labelled(train, labels):
        for place, label in enumerate(given):
            for part in _around(sequence, place, size) if label != ignore_index else ():
                seen.setdefault(part, Counter())[label] += 1
    right = asked = 0
    for sequence, given in _labelled(test, test_labels):
        for place, label in enumerate(given):
            if label == ignore_index:
                continue
            votes = next((seen[part] for part in _around(sequence, place, size) if part in seen), Counter[int]())
            # The commonest; of equally common ones the smallest label, so that the order of the data does not matter.
            right += bool(votes) and min(votes, key=lambda one: (-votes[one], one)) == label
            asked += 1
    if not asked:
        raise UsageError("No residue of the test data has a label that counts.")
    return right / asked


def _around(sequence: str, place: int, size: int) -> list[str]:
    """Return the k-mers around a residue, longest first, cut off beyond the ends with a mark; last the empty one."""
    padded = "^" * (size // 2) + sequence + "$" * (size // 2)
    middle = place + size // 2
    return [*(padded[middle - half : middle + half + 1] for half in range(size // 2, -1, -1)), ""]


def _labelled(sequences: Sequence[str], labels: Sequence[Sequence[int]]) -> list[tuple[str, Sequence[int]]]:
    if len(sequences) != len(labels):
        raise ShapeError(f"{len(sequences)} sequences, but labels of {len(labels)}.")
    for index, (sequence, given) in enumerate(zip(sequences, labels, strict=True)):
        if len(sequence) != len(given):
            raise ShapeError(f"Sequence {index} has {len(sequence)} letters, but {len(given)} labels.")
    return list(zip(sequences, labels, strict=True))
