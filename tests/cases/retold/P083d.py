"""Distil a teacher into a smaller student; step-based loop with an unlabelled pool."""
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Unlabelled(Dataset):
    def __init__(self, n=512, dim=24, seed=0):
        g = torch.Generator().manual_seed(seed)
        centers = torch.randn(8, dim, generator=g) * 2
        which = torch.arange(n) * 8 // n  # stored sorted by source
        self.x = centers[which] + torch.randn(n, dim, generator=g)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i]


def endless(loader):
    while True:
        yield from loader


class Distiller:
    def __init__(self, teacher, student, pool, lr=3e-3, temperature=2.0):
        self.teacher = teacher.eval().requires_grad_(False)
        self.student = student
        order = torch.randperm(len(pool)).tolist()
        self.loader = DataLoader(torch.utils.data.Subset(pool, order), batch_size=32)
        self.stream = endless(self.loader)
        self.opt = torch.optim.Adam(student.parameters(), lr=lr)
        self.t = temperature

    def fetch(self):
        for batch in self.loader:  # BUG
        # FIX: for batch in self.stream:
            return batch

    def step(self):
        x = self.fetch()
        with torch.no_grad():
            soft = torch.log_softmax(self.teacher(x) / self.t, dim=-1)
        pred = torch.log_softmax(self.student(x) / self.t, dim=-1)
        loss = nn.functional.kl_div(pred, soft, reduction="batchmean", log_target=True) * self.t ** 2
        self.opt.zero_grad()
        loss.backward()
        self.opt.step()
        return loss.item()


@torch.no_grad()
def agreement(a, b, x):
    b.eval()
    same = (a(x).argmax(-1) == b(x).argmax(-1)).float().mean().item()
    b.train()
    return same


def main():
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Linear(24, 128), nn.ReLU(), nn.Linear(128, 10))
    student = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 10))
    distiller = Distiller(teacher, student, Unlabelled())
    held_out = Unlabelled(seed=1).x
    student.train()
    for step in range(1, 61):
        loss = distiller.step()
        if step % 20 == 0:
            print(f"step {step} kd {loss:.4f} agreement {agreement(teacher, student, held_out):.3f}")


if __name__ == "__main__":
    main()
