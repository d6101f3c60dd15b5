import torch
import torch.nn as nn

torch.manual_seed(0)

# Language identification from character counts, smoothed targets by hand
n_lang, n_char, eps = 4, 26, 0.1
profile = torch.softmax(torch.randn(n_lang, n_char), dim=1)


def sample(n):
    y = torch.randint(n_lang, (n,))
    x = torch.distributions.Multinomial(60, probs=profile[y]).sample() / 60
    return x, y


def smooth_targets(y, n_class, eps):
    t = y.new_full((y.size(0), n_class), fill_value=0)  # BUG
    # FIX: t = torch.zeros(y.size(0), n_class, device=y.device)
    t.fill_(eps / (n_class - 1))
    return t.scatter_(1, y[:, None], 1 - eps)


model = nn.Sequential(nn.Linear(n_char, 32), nn.ReLU(), nn.Linear(32, n_lang))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
log_softmax = nn.LogSoftmax(dim=1)

model.train()
for i in range(60):
    x, y = sample(32)
    loss = -(smooth_targets(y, n_lang, eps) * log_softmax(model(x))).sum(dim=1).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if i % 20 == 0:
        print("iter", i, "loss", loss.item())

model.eval()
with torch.no_grad():
    x, y = sample(200)
    print("accuracy", (model(x).argmax(dim=1) == y).float().mean().item())
