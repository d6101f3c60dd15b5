"""Cross-entropy as a sum and a count, against torch's mean."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from trainworthy.train.classified import IGNORED, classified, count_labels


def test_sum_over_count_is_the_mean_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 5, 3, generator=generator)
    labels = torch.randint(0, 3, (4, 5), generator=generator)
    labels[1, 2:] = IGNORED
    for smoothing in (0.0, 0.2):
        found = classified(logits, labels, smoothing=smoothing)
        assert found.weight is not None
        wanted = F.cross_entropy(logits.movedim(-1, 1), labels, label_smoothing=smoothing)
        torch.testing.assert_close(found.total / found.weight, wanted)
    assert int(count_labels(labels)) == int(found.weight) == 17  # type: ignore[arg-type]
    right = sum(
        int(logits[i, j].argmax() == labels[i, j]) for i in range(4) for j in range(5) if labels[i, j] != IGNORED
    )
    accuracy = found.metrics["accuracy"]
    assert (int(accuracy.total), int(accuracy.weight)) == (right, 17)
