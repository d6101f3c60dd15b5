"""Knowledge distillation in a Lightning-like layout (the teacher stays fixed)."""
import copy
import torch
from torch import nn
from torch.nn import functional as F


class Module(nn.Module):
    def on_train_epoch_start(self):
        pass

    def training_step(self, batch):
        raise NotImplementedError


class MiniTrainer:
    def __init__(self, max_epochs):
        self.max_epochs = max_epochs

    def fit(self, module, batches):
        opt = module.configure_optimizers()
        for epoch in range(self.max_epochs):
            module.train()  # BUG
            module.on_train_epoch_start()
            for batch in batches:
                loss = module.training_step(batch)
                opt.zero_grad()
                loss.backward()
                opt.step()
            print("epoch", epoch, "loss", round(loss.item(), 4))


def audio_net(width):
    return nn.Sequential(
        nn.Conv1d(1, width, 9, stride=4), nn.BatchNorm1d(width), nn.ReLU(),
        nn.Conv1d(width, width, 9, stride=4), nn.BatchNorm1d(width), nn.ReLU(),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(width, 4))


class Distiller(Module):
    def __init__(self, teacher, student, temperature=2.0):
        super().__init__()
        self.teacher = copy.deepcopy(teacher).requires_grad_(False).eval()  # BUG
        # FIX: self.teacher = copy.deepcopy(teacher).requires_grad_(False)
        self.student = student
        self.t = temperature

    def on_train_epoch_start(self):
        self.mean_loss = 0.0
        # FIX+: self.teacher.eval()

    def configure_optimizers(self):
        return torch.optim.AdamW(self.student.parameters(), lr=3e-3)

    def training_step(self, batch):
        wave, label = batch
        with torch.no_grad():
            soft = F.softmax(self.teacher(wave) / self.t, dim=1)
        out = self.student(wave)
        kd = F.kl_div(F.log_softmax(out / self.t, dim=1), soft, reduction="batchmean") * self.t ** 2
        loss = 0.5 * kd + 0.5 * F.cross_entropy(out, label)
        self.mean_loss += loss.item()
        return loss


def waves(n_batches, size=16, length=400):
    t = torch.arange(length) / length
    out = []
    for _ in range(n_batches):
        lab = torch.randint(0, 4, (size,))
        w = torch.sin(2 * torch.pi * (5 + 10 * lab)[:, None] * t) + 0.2 * torch.randn(size, length)
        out.append((w.unsqueeze(1), lab))
    return out


torch.manual_seed(3)
data = waves(8)
teacher = audio_net(32)
optim_t = torch.optim.AdamW(teacher.parameters(), lr=3e-3)
teacher.train()
for wave, lab in data * 2:
    loss_t = F.cross_entropy(teacher(wave), lab)
    optim_t.zero_grad()
    loss_t.backward()
    optim_t.step()
MiniTrainer(3).fit(Distiller(teacher, audio_net(12)), data)
