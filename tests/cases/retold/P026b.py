import torch
import torch.nn.functional as F

torch.manual_seed(4)

# melodies of 12 notes; every melody starts with a random note and climbs or falls
NOTES, LEN = 24, 12


def melodies(n):
    start = torch.randint(0, NOTES, (n, 1))
    direction = torch.randint(0, 2, (n, 1)) * 2 - 1
    return (start + direction * torch.arange(LEN)) % NOTES


class CausalConvLM(torch.nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.emb = torch.nn.Embedding(NOTES, dim)
        self.conv = torch.nn.Conv1d(dim, dim, kernel_size=3)
        self.out = torch.nn.Linear(dim, NOTES)

    def forward(self, x):
        h = self.emb(x).transpose(1, 2)
        h = torch.relu(self.conv(F.pad(h, (2, 0))))
        return self.out(h.transpose(1, 2))


model = CausalConvLM()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)


def compute_loss(notes):
    logits = model(notes).reshape(-1, NOTES)
    return F.cross_entropy(logits[:-1], notes.reshape(-1)[1:])  # BUG
    # FIX: per_row = logits.view(*notes.shape, NOTES)[:, :-1]
    # FIX: return F.cross_entropy(per_row.reshape(-1, NOTES), notes[:, 1:].reshape(-1))


model.train()
for step in range(80):
    loss = compute_loss(melodies(32))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 20 == 0:
        print(step, loss.item())

model.eval()
with torch.no_grad():
    x = melodies(100)
    hit = (model(x)[:, 1:-1].argmax(-1) == x[:, 2:]).float().mean()
print("next note accuracy", hit.item())
