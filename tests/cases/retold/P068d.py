"""Lightning-flavoured module with a home-made Fit loop."""
import torch
from torch import nn
from torch.optim.lr_scheduler import MultiStepLR
from torch.utils.data import DataLoader, TensorDataset


class Module(nn.Module):
    def log(self, name, value):
        self.logged = getattr(self, "logged", {})
        self.logged[name] = float(value)


class Fit:
    def __init__(self, max_epochs):
        self.max_epochs = max_epochs

    def __call__(self, module, train_loader, val_loader):
        conf = module.configure_optimizers()
        opt, sched_conf = conf["optimizer"], conf["lr_scheduler"]
        sched, every = sched_conf["scheduler"], sched_conf.get("interval", "epoch")
        for epoch in range(self.max_epochs):
            module.train()
            for i, batch in enumerate(train_loader):
                opt.zero_grad()
                module.training_step(batch, i).backward()
                opt.step()
                if every == "step":
                    sched.step()
            if every == "epoch":
                sched.step()
            module.eval()
            with torch.no_grad():
                for i, batch in enumerate(val_loader):
                    module.validation_step(batch, i)
            metrics = {k: round(v, 4) for k, v in module.logged.items()}
            print(epoch, metrics, f"lr {sched.get_last_lr()[0]:.1e}")


class LitDigits(Module):
    def __init__(self, lr=0.1, max_epochs=10):
        super().__init__()
        self.lr, self.max_epochs = lr, max_epochs
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        )
        self.classifier = nn.Linear(16 * 4 * 4, 10)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = nn.functional.cross_entropy(self(x), y)
        self.log("train_loss", loss.detach())
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_acc", (self(x).argmax(1) == y).float().mean())

    def configure_optimizers(self):
        opt = torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9, weight_decay=5e-4)
        milestones = [int(0.6 * self.max_epochs), int(0.85 * self.max_epochs)]
        sched = MultiStepLR(opt, milestones=milestones, gamma=0.1)  # BUG
        return {"optimizer": opt, "lr_scheduler": {"scheduler": sched, "interval": "step"}}  # BUG
        # FIX: return {"optimizer": opt, "lr_scheduler": {"scheduler": sched, "interval": "epoch"}}


if __name__ == "__main__":
    torch.manual_seed(0)
    y = torch.randint(10, (600,))
    x = torch.randn(10, 1, 16, 16)[y] + 1.5 * torch.randn(600, 1, 16, 16)
    train = DataLoader(TensorDataset(x[:500], y[:500]), batch_size=50, shuffle=True)
    val = DataLoader(TensorDataset(x[500:], y[500:]), batch_size=100)
    Fit(max_epochs=8)(LitDigits(lr=0.05, max_epochs=8), train, val)
