"""Segmentation, dict outputs like torchvision's FCN / DeepLab; module with training_step hooks."""
from typing import Dict

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SegNet(nn.Module):
    def __init__(self, n_cls: int = 3, use_aux: bool = True) -> None:
        super().__init__()
        self.low = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.high = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU())
        self.classifier = nn.Conv2d(16, n_cls, 1)
        self.aux_classifier = nn.Conv2d(8, n_cls, 1) if use_aux else None

    def forward(self, x: Tensor) -> Dict[str, Tensor]:
        size = x.shape[-2:]
        feats = {"low": self.low(x)}
        feats["high"] = self.high(feats["low"])
        up = lambda t: F.interpolate(t, size=size, mode="bilinear", align_corners=False)
        result = {"out": up(self.classifier(feats["high"]))}
        if self.training and self.aux_classifier is not None:
            result["aux"] = up(self.aux_classifier(feats["low"]))
        return result


class SegModule:
    def __init__(self, net: SegNet, lr: float = 5e-3, void: int = 255) -> None:
        self.net, self.void = net, void
        self.opt = torch.optim.AdamW(net.parameters(), lr=lr)

    def pixel_loss(self, scores: Tensor, mask: Tensor) -> Tensor:
        return F.cross_entropy(scores, mask, ignore_index=self.void)

    def training_step(self, img: Tensor, mask: Tensor) -> Tensor:
        outputs = self.net(img)
        return self.pixel_loss(outputs["out"], mask)  # BUG
        # FIX: return self.pixel_loss(outputs["out"], mask) + 0.5 * self.pixel_loss(outputs["aux"], mask)

    @torch.no_grad()
    def validation_step(self, img: Tensor, mask: Tensor) -> float:
        pred = self.net(img)["out"].argmax(1)
        keep = mask != self.void
        return (pred[keep] == mask[keep]).float().mean().item()


def shapes(n: int, gen: torch.Generator):
    mask = torch.zeros(n, 16, 16, dtype=torch.long)
    for m in mask:
        r, c = torch.randint(1, 9, (2,), generator=gen).tolist()
        m[r:r + 6, c:c + 6] = int(torch.randint(1, 3, (1,), generator=gen))
    img = mask.unsqueeze(1).float() + 0.3 * torch.randn(n, 1, 16, 16, generator=gen)
    mask[:, 0, :] = 255                              # unlabelled border row
    return img, mask


torch.manual_seed(0)
gen = torch.Generator().manual_seed(0)
module = SegModule(SegNet())
val = shapes(16, gen)
for step in range(30):
    module.net.train()
    loss = module.training_step(*shapes(8, gen))
    module.opt.zero_grad()
    loss.backward()
    module.opt.step()
    if step % 10 == 9:
        module.net.eval()
        print(step + 1, f"loss {loss.item():.3f} pixel acc {module.validation_step(*val):.3f}")
