"""A one-stage detector: anchors, matching, smooth L1 with sigma and inside/outside weights."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn

STRIDE, SCALES = 16, (32.0, 64.0, 128.0)


def make_anchors(height, width):
    ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    centers = torch.stack([xs, ys], -1).reshape(-1, 1, 2).float() * STRIDE + STRIDE / 2
    half = torch.tensor(SCALES).view(1, -1, 1) / 2
    return torch.cat([centers - half, centers + half], dim=-1).reshape(-1, 4)


def iou(a, b):
    top_left = torch.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = (bottom_right - top_left).clamp(min=0).prod(-1)
    area = lambda boxes: (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    return inter / (area(a)[:, None] + area(b)[None] - inter)


def encode(anchors, boxes):
    size_a, size_b = anchors[:, 2:] - anchors[:, :2], boxes[:, 2:] - boxes[:, :2]
    shift = ((boxes[:, :2] + size_b / 2) - (anchors[:, :2] + size_a / 2)) / size_a
    return torch.cat([shift, (size_b / size_a).log()], dim=1)


def match(anchors, boxes, classes):
    """Targets of one image, made on the CPU in the data loader: 0 is background, -1 is ignored."""
    overlap = iou(anchors, boxes)
    best, index = overlap.max(dim=1)
    labels = torch.full((len(anchors),), -1)
    labels[best < 0.4] = 0
    positive = best >= 0.5
    positive[overlap.argmax(dim=0)] = True
    labels[positive] = classes[index[positive]]
    deltas = encode(anchors, boxes[index])
    return labels, deltas


def smooth_l1(pred, target, inside, outside, sigma=3.0):
    diff = inside * (pred - target)
    near = (diff.abs() < 1.0 / sigma**2).detach().float()
    loss = near * 0.5 * (sigma * diff) ** 2 + (1 - near) * (diff.abs() - 0.5 / sigma**2)
    return (outside * loss).sum()


class Boxes(torch.utils.data.Dataset):
    def __init__(self, size, side, num_classes):
        self.size, self.side, self.num_classes = size, side, num_classes
        self.anchors = make_anchors(side // STRIDE, side // STRIDE)

    def __len__(self):
        return self.size

    def __getitem__(self, i):
        g = torch.Generator().manual_seed(i)
        n = int(torch.randint(1, 8, (), generator=g))
        corner = torch.rand(n, 2, generator=g) * self.side * 0.7
        boxes = torch.cat([corner, corner + 20 + torch.rand(n, 2, generator=g) * self.side * 0.3], dim=1)
        labels, deltas = match(self.anchors, boxes, torch.randint(1, self.num_classes, (n,), generator=g))
        return torch.randn(3, self.side, self.side, generator=g), labels, deltas


class Detector(nn.Module):
    def __init__(self, num_classes, width=64):
        super().__init__()
        layers, inside = [], 3
        for i in range(4):
            outside = width * 2**i
            layers += [nn.Conv2d(inside, outside, 3, 2, 1), nn.GroupNorm(8, outside), nn.SiLU()]
            inside = outside
        self.backbone = nn.Sequential(*layers)
        self.classify = nn.Conv2d(inside, len(SCALES) * num_classes, 3, padding=1)
        self.regress = nn.Conv2d(inside, len(SCALES) * 4, 3, padding=1)
        self.num_classes = num_classes

    def forward(self, x):
        h = self.backbone(x)
        flat = lambda t, k: t.permute(0, 2, 3, 1).reshape(x.shape[0], -1, k)
        return flat(self.classify(h), self.num_classes), flat(self.regress(h), 4)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--classes", type=int, default=21)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--images", type=int, default=64)
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = Detector(args.classes, args.width).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    loader = torch.utils.data.DataLoader(Boxes(args.images, args.side, args.classes), args.batch_size, shuffle=True)
    for images, labels, deltas in loader:
        images, labels, deltas = images.to(device), labels.to(device), deltas.to(device)
        scores, boxes = model(images)
        positive = labels > 0
        num_positive = positive.sum().clamp(min=1)
        valid = (labels >= 0).nonzero(as_tuple=True)
        class_loss = F.cross_entropy(scores[valid], labels[valid])
        inside = positive.unsqueeze(-1).float()
        box_loss = smooth_l1(boxes, deltas, inside, inside / num_positive)
        centre_error = (boxes[positive][:, :2] - deltas[positive][:, :2]).abs().mean()
        loss = class_loss + box_loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(
            f"class {class_loss.item():.4f} box {box_loss.item():.4f} centre {centre_error.item():.3f} positives {num_positive.item()}"
        )


if __name__ == "__main__":
    main()
