"""Train the head that predicts which joints are visible, on random features.

fix: 529765e8
depth: live 6
expects: TW101
where: mmpose/models/heads/hybrid_heads/vis_head.py
stands in: registry and base class of mmengine, the head for poses, the loss (binary cross-entropy with weights)
"""

from types import SimpleNamespace

import torch
from stand_ins import load, stand_in
from torch import nn


class Registry:
    def register_module(self):
        return lambda cls: cls

    def build(self, config):
        return config["module"]


class BaseHead(nn.Module):
    def __init__(self, init_cfg=None):
        super().__init__()


class WeightedBCE(nn.Module):
    use_target_weight = True

    def forward(self, output, target, weight=None):
        loss = nn.functional.binary_cross_entropy(output, target, reduction="none")
        return (loss * weight).mean()


class PoseHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.joints = nn.Conv2d(16, 17, 1)

    def loss(self, feats, samples):
        return {"loss_kpt": self.joints(feats[-1]).pow(2).mean()}


stand_in("mmpose.models.utils.tta")
stand_in("mmpose.registry", MODELS=Registry())
stand_in("mmpose.utils.tensor_utils")
stand_in("mmpose.utils.typing")
stand_in("mmpose.models.heads.base_head", BaseHead=BaseHead)
VisPredictHead = load("mmpose/models/heads/hybrid_heads/vis_head.py").VisPredictHead

loss = {"type": "BCELoss", "use_target_weight": True, "use_sigmoid": True, "module": WeightedBCE()}
head = VisPredictHead({"in_channels": 16, "out_channels": 17, "module": PoseHead()}, loss)
optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
for _ in range(6):
    samples = [
        SimpleNamespace(
            gt_instance_labels=SimpleNamespace(
                keypoint_weights=(torch.rand(1, 17) > 0.3).float(),
                keypoints_visible_weights=torch.ones(1, 17),
            )
        )
        for _ in range(8)
    ]
    losses = head.loss((torch.randn(8, 16, 8, 6),), samples)
    total = sum(value for name, value in losses.items() if "loss" in name)
    optimizer.zero_grad()
    total.backward()
    optimizer.step()
    print(float(losses["acc_vis"]))
