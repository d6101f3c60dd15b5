"""Train a small flow matching model on invented colour pictures, and draw pictures after each epoch.

fix: e394b02c
depth: rehearse
expects: TW120
where: torchcfm/conditional_flow_matching.py
stands in: POT (optimal transport), which this flow matcher does not use
"""

import torch
from stand_ins import stand_in
from torch.utils.data import DataLoader, TensorDataset

stand_in("ot")

from torchcfm.conditional_flow_matching import TargetConditionalFlowMatcher
from torchcfm.models.unet import UNetModel

torch.manual_seed(0)
at = torch.linspace(-1, 1, 32)
centre = torch.rand(128, 2, 1, 1) - 0.5
disc = ((at[:, None] - centre[:, 0]) ** 2 + (at[None, :] - centre[:, 1]) ** 2 < 0.1).float()
pictures = disc[:, None] * torch.rand(128, 3, 1, 1) * 2 - 1
loader = DataLoader(TensorDataset(pictures), batch_size=32, shuffle=True, drop_last=True)

model = UNetModel(dim=(3, 32, 32), num_channels=32, num_res_blocks=1, channel_mult=[1, 1], num_heads=2)
matcher = TargetConditionalFlowMatcher(sigma=0.0)
optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)

for epoch in range(2):
    model.train()
    total = 0.0
    for (x1,) in loader:
        optimizer.zero_grad()
        x0 = torch.randn_like(x1)
        t, xt, ut = matcher.sample_location_and_conditional_flow(x0, x1)
        loss = torch.mean((model(t, xt) - ut) ** 2)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        total += loss.item()
    model.eval()
    with torch.no_grad():
        x = torch.randn(4, 3, 32, 32)
        for step in range(5):
            x = x + model(torch.full((4,), step / 5), x) / 5
    print(f"epoch {epoch}: loss {total / len(loader):.4f} drawn mean {x.mean():.3f} std {x.std():.3f}")
