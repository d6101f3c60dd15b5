"""A one-stage detector with anchors: what of a Faster R-CNN is needed to learn its losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from trainworthy.parts.losses.smooth_l1 import box_iou, decode_boxes, encode_boxes
from trainworthy.parts.models.layers import conv_norm_relu

STRIDE = 8


class Detected(NamedTuple):
    """What the detector returns.

    Attributes:
        logits: (N, A, classes + 1); class 0 is background.
        shifts: (N, A, 4), as :func:`~trainworthy.parts.losses.smooth_l1.encode_boxes` makes them.
    """

    logits: Tensor
    shifts: Tensor


class AnchorDetector(nn.Module):
    """Convolutions to 1/8 of the size, then for each anchor a class and the shift of its box.

    Shapes:   (N, channels, H, W) -> :class:`Detected` with A = H / 8 * W / 8 * len(sizes), as :func:`anchors` has them
    Source:   the head is that of Ren et al. 2015 (arXiv 1506.01497), section 3.1, with classes in place of objectness

    Args:
        classes: Number of classes, without background.
        sizes: Sides of the square anchors at each place, in pixels.
        channels: Channels of the image.
        width: Channels of the first layer, doubled at each stride.

    >>> out = AnchorDetector(classes=3, sizes=(16, 32), width=4)(torch.zeros(2, 3, 32, 32))
    >>> out.logits.shape, out.shifts.shape
    (torch.Size([2, 32, 4]), torch.Size([2, 32, 4]))
    """

    def __init__(self, *, classes: int, sizes: Sequence[int], channels: int = 3, width: int = 16) -> None:
        super().__init__()
        self.outputs = classes + 1
        self.features = nn.Sequential(
            conv_norm_relu(channels, width),
            conv_norm_relu(width, 2 * width, stride=2), conv_norm_relu(2 * width, 2 * width),
            conv_norm_relu(2 * width, 4 * width, stride=2), conv_norm_relu(4 * width, 4 * width),
            conv_norm_relu(4 * width, 8 * width, stride=2), conv_norm_relu(8 * width, 8 * width),
        )  # fmt: skip
        self.classify = nn.Conv2d(8 * width, len(sizes) * self.outputs, 1)
        self.regress = nn.Conv2d(8 * width, len(sizes) * 4, 1)
        nn.init.normal_(self.regress.weight, 0.0, 0.001)  # boxes begin as the anchors

    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Detected:
            """Run hooks and ``forward``."""
            ...

    def forward(self, x: Tensor) -> Detected:
        """Return logits and shifts."""
        x = self.features(x)
        count = x.shape[0]
        logits = self.classify(x).permute(0, 2, 3, 1).reshape(count, -1, self.outputs)
        return Detected(logits, self.regress(x).permute(0, 2, 3, 1).reshape(count, -1, 4))


def anchors(size: int, sizes: Sequence[int]) -> Tensor:
    """Return the anchors of a square image: at each place of the grid one of each size, around its centre.

    Shapes:   -> (size / 8 * size / 8 * len(sizes), 4) as x1, y1, x2, y2, in pixels

    >>> anchors(16, (4,))[1]
    tensor([10.,  2., 14.,  6.])
    """
    centres = torch.arange(size // STRIDE) * STRIDE + STRIDE / 2
    y, x, side = torch.meshgrid(centres, centres, torch.tensor([float(each) for each in sizes]), indexing="ij")
    return torch.stack([x - side / 2, y - side / 2, x + side / 2, y + side / 2], dim=-1).reshape(-1, 4)


class Targets(NamedTuple):
    """What each anchor is to say.

    Attributes:
        labels: (A,) of a class, 0 for background, -100 where the overlap is neither good nor bad.
        shifts: (A, 4) to the box of the anchor; 0 without one.
        inside: (A, 1), 1 where the anchor has a box, so that its shift counts.
        outside: (A, 1), 1 / number of the anchors with a box: the sum over an image is their mean.
    """

    labels: Tensor
    shifts: Tensor
    inside: Tensor
    outside: Tensor


def assign(boxes: Tensor, classes: Tensor, to: Tensor, *, good: float = 0.5, bad: float = 0.3) -> Targets:
    """Give each anchor the box that it overlaps most, if that is enough; each box has at least its best anchor.

    Shapes:   boxes (B, 4), classes (B,) from 1 on, to (A, 4), B at least 1 -> :class:`Targets`
    Source:   Ren et al. 2015, section 3.1.2; the thresholds there are 0.7 and 0.3
    """
    overlap = box_iou(to, boxes)
    most, which = overlap.max(dim=1)
    best = overlap.argmax(dim=0)
    which[best] = torch.arange(len(boxes))
    has_box = most >= good
    has_box[best] = True
    labels = torch.where(has_box, classes[which], torch.where(most < bad, 0, -100))
    shifts = torch.where(has_box[:, None], encode_boxes(boxes[which], to), 0.0)
    inside = has_box[:, None].float()
    return Targets(labels, shifts, inside, inside / inside.sum())


def best_boxes(found: Detected, to: Tensor, *, count: int, same: float = 0.5) -> tuple[Tensor, Tensor, Tensor]:
    """Return the likeliest boxes of each image, without those that overlap a likelier one (greedy suppression).

    The number of boxes is fixed, so that nothing depends on values and no copy to the host is needed.

    Shapes:   -> boxes (N, count, 4), classes (N, count) from 1 on, scores (N, count)

    Args:
        found: Of the detector.
        to: The anchors (A, 4).
        count: Number of boxes for each image.
        same: Overlap from which on two boxes are one.
    """
    scores, classes = found.logits.softmax(dim=-1)[..., 1:].max(dim=-1)
    boxes, left = decode_boxes(found.shifts, to), scores.clone()
    chosen = []
    for _ in range(count):
        row = left.argmax(dim=1, keepdim=True)
        box = boxes.gather(1, row[..., None].expand(-1, -1, 4))
        chosen.append((box, classes.gather(1, row) + 1, scores.gather(1, row)))
        left = left.masked_fill(box_iou(box, boxes)[:, 0] >= same, -1.0).scatter(1, row, -1.0)
    parts = [torch.cat(each, dim=1) for each in zip(*chosen, strict=True)]
    return parts[0], parts[1], parts[2]
