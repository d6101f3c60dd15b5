"""Train a small CNN and report cost per image and achieved GFLOP/s."""
import time
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


class Profiler:
    """Counts floating point operations of one forward pass with hooks."""

    def __init__(self, model):
        self.model = model
        self.per_layer = {}

    def _conv(self, name):
        def hook(m, inputs, out):
            kh, kw = m.kernel_size
            taps = kh * kw * m.in_channels // m.groups
            self.per_layer[name] = out.numel() * taps  # BUG
            # FIX: self.per_layer[name] = 2 * out.numel() * taps
        return hook

    def _dense(self, name):
        def hook(m, inputs, out):
            self.per_layer[name] = out.numel() * m.in_features  # BUG
            # FIX: self.per_layer[name] = 2 * out.numel() * m.in_features
        return hook

    @torch.no_grad()
    def flops(self, example):
        was_training = self.model.training
        self.model.eval()
        handles = []
        for name, m in self.model.named_modules():
            if isinstance(m, nn.Conv2d):
                handles.append(m.register_forward_hook(self._conv(name)))
            elif isinstance(m, nn.Linear):
                handles.append(m.register_forward_hook(self._dense(name)))
        self.model(example)
        for h in handles:
            h.remove()
        self.model.train(was_training)
        return sum(self.per_layer.values())


class SmallNet(nn.Module):
    def __init__(self, classes=4):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False), nn.Conv2d(16, 32, 1, bias=False),
            nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        )
        self.classifier = nn.Linear(32, classes, bias=False)

    def forward(self, x):
        return self.classifier(self.features(x).mean((-2, -1)))


def main():
    torch.manual_seed(0)
    y = torch.randint(4, (128,))
    x = torch.randn(128, 3, 24, 24) + torch.randn(4, 3, 1, 1)[y]
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    model = SmallNet()
    flops_per_image = Profiler(model).flops(x[:1])
    print(f"forward: {flops_per_image / 1e6:.3f} MFLOPs per image")
    opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    ce = nn.CrossEntropyLoss()
    for epoch in range(3):
        model.train()
        seen, tic = 0, time.perf_counter()
        for xb, yb in loader:
            opt.zero_grad()
            loss = ce(model(xb), yb)
            loss.backward()
            opt.step()
            seen += len(xb)
        took = time.perf_counter() - tic
        rate = 3 * flops_per_image * seen / took / 1e9      # backward costs about twice the forward
        print(f"epoch {epoch} loss {loss.item():.3f} {rate:.2f} GFLOP/s")


if __name__ == "__main__":
    main()
