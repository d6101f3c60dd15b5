import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def mlp(sizes):
    layers = []
    for a, b in zip(sizes[:-1], sizes[1:]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class DistillationLoss(nn.Module):
    def __init__(self, temperature, alpha):
        super().__init__()
        self.T, self.alpha = temperature, alpha
        self.kd = nn.KLDivLoss()  # BUG
        # FIX: self.kd = nn.KLDivLoss(reduction="batchmean")
        self.ce = nn.CrossEntropyLoss()

    def forward(self, student_logits, teacher_logits, y):
        s = F.softmax(student_logits / self.T, dim=1)  # BUG
        # FIX: s = F.log_softmax(student_logits / self.T, dim=1)
        t = F.softmax(teacher_logits / self.T, dim=1)
        return self.alpha * self.T ** 2 * self.kd(s, t) + (1 - self.alpha) * self.ce(student_logits, y)


class Distiller:
    def __init__(self, args, teacher, student):
        self.args = args
        self.teacher = teacher.eval().requires_grad_(False)
        self.student = student
        self.loss_fn = DistillationLoss(args.temperature, args.alpha)
        self.opt = torch.optim.SGD(student.parameters(), lr=args.lr, momentum=0.9)

    def fit(self, loader):
        for epoch in range(self.args.epochs):
            self.student.train()
            for x, y in loader:
                with torch.no_grad():
                    t = self.teacher(x)
                loss = self.loss_fn(self.student(x), t, y)
                self.opt.zero_grad()
                loss.backward()
                self.opt.step()
            print(f"epoch {epoch} loss {loss.item():.4f}")


def pretrain_teacher(teacher, x, y):
    opt = torch.optim.Adam(teacher.parameters(), lr=5e-3)
    teacher.train()
    for _ in range(60):
        opt.zero_grad()
        F.cross_entropy(teacher(x), y).backward()
        opt.step()


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--temperature", type=float, default=4.0)
    ap.add_argument("--alpha", type=float, default=0.7)
    ap.add_argument("--lr", type=float, default=0.05)
    ap.add_argument("--epochs", type=int, default=4)
    args = ap.parse_args()
    torch.manual_seed(0)
    x = torch.randn(256, 20)
    y = (x @ torch.randn(20, 6)).argmax(1)
    teacher, student = mlp([20, 128, 6]), mlp([20, 16, 6])
    pretrain_teacher(teacher, x[:192], y[:192])
    Distiller(args, teacher, student).fit(DataLoader(TensorDataset(x[:192], y[:192]), 32, shuffle=True))
    student.eval()
    with torch.no_grad():
        print("acc", (student(x[192:]).argmax(1) == y[192:]).float().mean().item())
