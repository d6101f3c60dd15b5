# relation network for few-shot learning: compare every query with every class prototype
import torch
import torch.nn as nn

torch.manual_seed(0)
WAY, SHOT, QUERY, DIM, EMB = 4, 3, 5, 10, 16

centers = torch.randn(20, DIM) * 2
encoder = nn.Sequential(nn.Linear(DIM, 32), nn.ReLU(), nn.Linear(32, EMB))
relation = nn.Sequential(nn.Linear(2 * EMB, 32), nn.ReLU(), nn.Linear(32, 1))
opt = torch.optim.Adam([*encoder.parameters(), *relation.parameters()], lr=2e-3)


def episode():
    classes = torch.randperm(20)[:WAY]
    support = centers[classes][:, None, :] + torch.randn(WAY, SHOT, DIM)
    query = centers[classes][:, None, :] + torch.randn(WAY, QUERY, DIM)
    label = torch.arange(WAY).repeat_interleave(QUERY)
    return support, query.reshape(WAY * QUERY, DIM), label


def relation_logits(support, query):
    proto = encoder(support).mean(dim=1)  # (WAY, EMB)
    q = encoder(query)  # (WAY*QUERY, EMB)
    n_q = q.shape[0]
    left = torch.repeat_interleave(proto, n_q, dim=0)  # BUG
    # FIX: left = proto.repeat(n_q, 1)
    right = torch.repeat_interleave(q, WAY, dim=0)  # BUG
    pairs = torch.cat([left, right], dim=1)
    return relation(pairs).reshape(n_q, WAY)


encoder.train()
relation.train()
for it in range(60):
    support, query, label = episode()
    loss = nn.functional.cross_entropy(relation_logits(support, query), label)
    opt.zero_grad()
    loss.backward()
    opt.step()
    if it % 20 == 0:
        print(it, round(loss.item(), 4))

encoder.eval()
relation.eval()
with torch.no_grad():
    acc = []
    for _ in range(20):
        support, query, label = episode()
        acc.append((relation_logits(support, query).argmax(1) == label).float().mean())
print("episode accuracy", torch.stack(acc).mean().item())
