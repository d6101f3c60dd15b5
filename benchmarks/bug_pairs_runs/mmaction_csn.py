"""Fine-tune the channel-separated network on random clips and validate after each step.

fix: 19c06fb1
depth: live 4
expects: TW356
where: program, mmaction/models/backbones/resnet3d_csn.py
stands in: mmcv (its ConvModule, registry and initialisations)
"""

import torch
from stand_ins import HERE, conv_module, package, stand_in
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def ignore(*args, **kwargs):
    pass


class Registry:
    def register_module(self):
        return lambda cls: cls


stand_in(
    "mmcv.cnn", ConvModule=conv_module(), build_activation_layer=lambda config: nn.ReLU(), constant_init=ignore,
    kaiming_init=ignore,
)  # fmt: skip
stand_in("mmcv.runner")
stand_in("mmcv.utils", _BatchNorm=_BatchNorm)
stand_in("mmaction.utils")
package("mmaction", HERE / "mmaction")
package("mmaction.models", HERE / "mmaction/models")
stand_in("mmaction.models.registry", BACKBONES=Registry())
package("mmaction.models.backbones", HERE / "mmaction/models/backbones")
from mmaction.models.backbones.resnet3d_csn import ResNet3dCSN


class Recognizer(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = ResNet3dCSN(50, None, pretrained2d=False, base_channels=8, with_pool2=False, norm_eval=False)
        self.head = nn.Linear(256, 5)

    def forward(self, clips):
        return self.head(self.backbone(clips).mean((2, 3, 4)))


model = Recognizer()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
for _ in range(4):
    clips, labels = torch.randn(4, 3, 8, 32, 32), torch.randint(5, (4,))
    model.train()
    loss = nn.functional.cross_entropy(model(clips), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    model.eval()
    with torch.no_grad():
        model(clips).argmax(1)
