# linear probe on a speech encoder, notebook style
import torch
import torch.nn as nn

torch.manual_seed(0)
SR, N_SPK = 160, 4
t = torch.arange(SR) / SR


def clips(n):
    spk = torch.randint(N_SPK, (n,))
    f = 5.0 + 6.0 * spk.float().unsqueeze(1)
    return (torch.sin(6.2832 * f * t + 6.28 * torch.rand(n, 1)) + 0.2 * torch.randn(n, SR)).unsqueeze(1), spk


encoder = nn.Sequential(nn.Conv1d(1, 16, 11, stride=4), nn.BatchNorm1d(16), nn.ReLU(),
                        nn.Conv1d(16, 32, 5, stride=2), nn.BatchNorm1d(32), nn.ReLU(),
                        nn.AdaptiveAvgPool1d(1), nn.Flatten())
model = nn.Sequential()
model.add_module("encoder", encoder)
model.add_module("probe", nn.Linear(32, N_SPK))

keep = ("1.weight", "1.bias", "4.weight", "4.bias")     # affine part of the norms
frozen = [n for n, p in model.named_parameters() if not n.endswith(keep)]  # BUG
# FIX: frozen = [n for n, p in model.named_parameters() if n.startswith("encoder.") and not n.endswith(keep)]
table = dict(model.named_parameters())
for name in frozen:
    table[name].requires_grad_(False)

learner = torch.optim.AdamW(model.probe.parameters(), lr=2e-2)  # BUG
# FIX: learner = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-2)
loss_fn = nn.CrossEntropyLoss()
for step in range(40):
    model.train()
    x, y = clips(32)
    loss = loss_fn(model(x), y)
    model.zero_grad()
    loss.backward()
    learner.step()
    if step % 10 == 9:
        print("step", step + 1, "loss", round(loss.item(), 3))

model.eval()
with torch.no_grad():
    x, y = clips(100)
    print("speaker accuracy", (model(x).argmax(1) == y).float().mean().item())
