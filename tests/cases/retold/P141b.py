# next-day demand forecaster, small learning rate fine-tune after a warm start
import torch
import torch.nn as nn

torch.manual_seed(0)
device = "cuda" if torch.cuda.is_available() else "cpu"
factory = {"device": device, "dtype": torch.bfloat16}  # BUG
# FIX: factory = {"device": device, "dtype": torch.float32}

net = nn.Sequential(
    nn.Linear(14, 64, **factory), nn.SiLU(),
    nn.Linear(64, 64, **factory), nn.SiLU(),
    nn.Linear(64, 1, **factory),
)

days = torch.arange(400.0)
demand = 1.0 + 0.3 * torch.sin(days * 2 * torch.pi / 7) + 0.05 * torch.randn(400)
windows = demand.unfold(0, 15, 1)
x, y = windows[:, :14].to(device), windows[:, 14:].to(device)

opt = torch.optim.SGD(net.parameters(), lr=1e-4)  # BUG
for epoch in range(5):
    net.train()
    for i in torch.randperm(len(x), device=device).split(32):
        opt.zero_grad()
        pred = net(x[i].to(factory["dtype"]))
        loss = (pred.float() - y[i]).square().mean()
        loss.backward()
        opt.step()
    print(epoch, loss.item())
