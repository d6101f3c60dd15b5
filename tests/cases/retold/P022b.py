# seq2seq with dot attention: reverse a sequence of digits
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
V, H, L, SOS = 11, 32, 6, 10

emb = nn.Embedding(V, H)
enc = nn.GRU(H, H, batch_first=True)
dec = nn.GRU(H, H, batch_first=True)
out = nn.Linear(2 * H, 10)
attend = nn.Softmax()  # BUG
# FIX: attend = nn.Softmax(dim=2)
net = nn.ModuleList([emb, enc, dec, out])
optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)


def run(src, dec_in):
    memory, h = enc(emb(src))
    query, _ = dec(emb(dec_in), h)
    scores = torch.bmm(query, memory.transpose(1, 2))  # (B, T_out, T_in)
    context = torch.bmm(attend(scores), memory)
    return out(torch.cat([query, context], dim=2))


def batch(n):
    src = torch.randint(0, 10, (n, L))
    tgt = src.flip(1)
    start = torch.full((n, 1), SOS)
    return src, torch.cat([start, tgt[:, :-1]], dim=1), tgt


net.train()
for it in range(120):
    src, dec_in, tgt = batch(32)
    logits = run(src, dec_in)
    loss = F.cross_entropy(logits.transpose(1, 2), tgt)  # (B, C, T)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
    if it % 40 == 0:
        print(it, loss.item())

net.eval()
with torch.no_grad():
    src, dec_in, tgt = batch(64)
    print("token accuracy", (run(src, dec_in).argmax(-1) == tgt).float().mean().item())
    print("greedy", F.softmax(run(src[:1], dec_in[:1])[0, 0], dim=0).argmax().item())
