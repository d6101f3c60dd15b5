"""Small callback trainer for image classification."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

device = "cuda" if torch.cuda.is_available() else "cpu"


class Callback:
    def on_step_end(self, step: int, loss: Tensor, logits: Tensor, target: Tensor) -> None: ...

    def on_epoch_end(self, epoch: int) -> None: ...


class RunningScore(Callback):
    def __init__(self, every: int = 10) -> None:
        self.every = every
        self.reset()

    def reset(self) -> None:
        self.loss_sum = 0.0
        self.correct = 0
        self.steps = self.seen = 0

    def on_step_end(self, step: int, loss: Tensor, logits: Tensor, target: Tensor) -> None:
        self.loss_sum += float(loss.detach())  # BUG
        # FIX: self.loss_sum += loss.detach()
        self.correct += (logits.argmax(1) == target).sum().tolist()  # BUG
        # FIX: self.correct += (logits.detach().argmax(1) == target).sum()
        self.steps += 1
        self.seen += len(target)
        if step % self.every == self.every - 1:
            print(f"  step {step}: loss {float(self.loss_sum) / self.steps:.4f}")

    def on_epoch_end(self, epoch: int) -> None:
        print(f"epoch {epoch}: train acc {int(self.correct) / self.seen:.3f}")
        self.reset()


class Learner:
    def __init__(self, model: nn.Module, lr: float, callbacks: list[Callback]) -> None:
        self.model = model.to(device)
        self.opt = torch.optim.SGD(self.model.parameters(), lr=lr, momentum=0.9, nesterov=True)
        self.callbacks = callbacks

    def fit(self, loader: DataLoader, epochs: int) -> None:
        for epoch in range(epochs):
            self.model.train()
            for step, (image, target) in enumerate(loader):
                image, target = image.to(device, non_blocking=True), target.to(device, non_blocking=True)
                self.opt.zero_grad(set_to_none=True)
                logits = self.model(image)
                loss = F.cross_entropy(logits, target, label_smoothing=0.05)
                loss.backward()
                self.opt.step()
                for cb in self.callbacks:
                    cb.on_step_end(step, loss, logits, target)
            for cb in self.callbacks:
                cb.on_epoch_end(epoch)

    @torch.inference_mode()
    def evaluate(self, loader: DataLoader) -> float:
        self.model.eval()
        hits = torch.zeros((), dtype=torch.long, device=device)
        for image, target in loader:
            hits += (self.model(image.to(device)).argmax(1) == target.to(device)).sum()
        return hits.item() / len(loader.dataset)


def blobs(n: int, seed: int) -> TensorDataset:
    g = torch.Generator().manual_seed(seed)
    target = torch.randint(4, (n,), generator=g)
    image = 0.5 * torch.randn(n, 1, 16, 16, generator=g)
    for i, k in enumerate(target.tolist()):
        r, c = divmod(k, 2)
        image[i, 0, 8 * r : 8 * r + 8, 8 * c : 8 * c + 8] += 0.7
    return TensorDataset(image, target)


if __name__ == "__main__":
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Flatten(), nn.Linear(8 * 64, 4),
    )
    pin = device == "cuda"
    train_loader = DataLoader(blobs(640, 0), batch_size=16, shuffle=True, pin_memory=pin)
    learner = Learner(net, lr=0.02, callbacks=[RunningScore(every=20)])
    learner.fit(train_loader, epochs=2)
    print("val acc", learner.evaluate(DataLoader(blobs(128, 1), batch_size=64)))
