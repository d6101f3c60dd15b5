"""Fine-tune MobileNetV2 with its first two stages frozen.

fix: b3a154e6
depth: live 8
expects: TW358
where: program, mmaction/models/backbones/mobilenet_v2.py
stands in: mmcv (its ConvModule, registry and initialisations)
"""

import torch
from stand_ins import HERE, conv_module, package, stand_in
from torch import nn


class Registry:
    def register_module(self):
        return lambda cls: cls


stand_in("mmcv.cnn", ConvModule=conv_module())
stand_in("mmcv.runner")
stand_in("mmaction.utils")
package("mmaction", HERE / "mmaction")
package("mmaction.models", HERE / "mmaction/models")
stand_in("mmaction.models.builder", BACKBONES=Registry())
package("mmaction.models.backbones", HERE / "mmaction/models/backbones")
from mmaction.models.backbones.mobilenet_v2 import MobileNetV2


class Recognizer(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = MobileNetV2(widen_factor=0.25, frozen_stages=2)
        self.head = nn.Linear(1280, 5)

    def forward(self, frames):
        return self.head(self.backbone(frames).mean((2, 3)))


model = Recognizer()
optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01, momentum=0.9)
model.train()
for _ in range(8):
    frames, labels = torch.randn(8, 3, 32, 32), torch.randint(5, (8,))
    loss = nn.functional.cross_entropy(model(frames), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
