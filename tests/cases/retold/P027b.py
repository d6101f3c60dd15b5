# Reward model: score of the last token, rows padded on the left
import torch
import torch.nn as nn

torch.manual_seed(0)
PAD, VOCAB, DIM, CTX = 0, 30, 32, 20


class RewardModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(VOCAB, DIM)
        self.wpe = nn.Embedding(CTX, DIM)
        self.attn = nn.MultiheadAttention(DIM, 4, batch_first=True)
        self.norm = nn.LayerNorm(DIM)
        self.v_head = nn.Linear(DIM, 1, bias=False)

    def forward(self, input_ids, attention_mask):
        n, t = input_ids.shape
        position_ids = torch.arange(t).expand(n, t)  # BUG
        # FIX: position_ids = (attention_mask.cumsum(-1) - 1).clamp(min=0)
        h = self.norm(self.wte(input_ids) + self.wpe(position_ids))
        causal = torch.ones(t, t, dtype=torch.bool).triu(1)
        blocked = causal | (attention_mask[:, None, :] == 0)
        blocked = blocked & ~torch.eye(t, dtype=torch.bool)
        a, _ = self.attn(h, h, h, attn_mask=blocked.repeat_interleave(4, dim=0), need_weights=False)
        return self.v_head(h + a)[:, -1, 0]


def left_pad(rows):
    width = max(len(r) for r in rows)
    ids = torch.full((len(rows), width), PAD)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for i, r in enumerate(rows):
        ids[i, width - len(r):] = r
        mask[i, width - len(r):] = 1
    return ids, mask


def answers(n):
    rows = [torch.randint(1, VOCAB, (int(torch.randint(4, CTX + 1, (1,))),)) for _ in range(n)]
    quality = torch.stack([(r[:3] < VOCAB // 2).float().sum() for r in rows])
    return rows, quality


def pair_loss(model, rows, quality):
    r = model(*left_pad(rows))
    chosen, rejected = r[0::2], r[1::2]
    sign = torch.sign(quality[0::2] - quality[1::2])
    keep = sign != 0
    return -nn.functional.logsigmoid(sign[keep] * (chosen - rejected)[keep]).mean()


model = RewardModel()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
model.train()
for step in range(60):
    loss = pair_loss(model, *answers(64))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 20 == 0:
        print(step, round(loss.item(), 4))

model.eval()
with torch.no_grad():
    print("eval", round(pair_loss(model, *answers(256)).item(), 4))
