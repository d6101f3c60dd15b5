"""Train a feed-forward module of the Zipformer on random features and validate after each step.

fix: d1862160
depth: live 6
expects: TW357
where: egs/librispeech/ASR/zipformer/scaling.py, program
stands in: k2 (its two Swoosh functions with their derivatives)
"""

import sys

import torch
from stand_ins import HERE, stand_in
from torch import nn


def swoosh(offset, constant):
    def forward(x):
        return torch.nn.functional.softplus(x - offset) - 0.08 * x - constant

    def both(x):
        return forward(x), torch.sigmoid(x - offset) - 0.08

    return forward, both


left, left_both = swoosh(4.0, 0.035)
right, right_both = swoosh(1.0, 0.313261687)
stand_in(
    "k2", swoosh_l_forward=left, swoosh_l_forward_and_deriv=left_both, swoosh_r_forward=right,
    swoosh_r_forward_and_deriv=right_both, swoosh_l=left, swoosh_r=right,
)  # fmt: skip
sys.path.insert(0, str(HERE / "egs/librispeech/ASR/zipformer"))
from scaling import ActivationDropoutAndLinear


class FeedForward(nn.Module):
    def __init__(self, dim, hidden, classes):
        super().__init__()
        self.in_proj = nn.Linear(dim, hidden)
        self.out_proj = ActivationDropoutAndLinear(hidden, dim, activation="SwooshL", dropout_p=0.2)
        self.head = nn.Linear(dim, classes)

    def forward(self, x):
        return self.head(x + self.out_proj(self.in_proj(x)))


model = FeedForward(24, 48, 10)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
features, labels = torch.randn(30, 4, 24), torch.randint(10, (30, 4))
for _ in range(6):
    model.train()
    loss = nn.functional.cross_entropy(model(features).transpose(1, 2), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    model.eval()
    with torch.no_grad():
        print(float(nn.functional.cross_entropy(model(features).transpose(1, 2), labels)))
