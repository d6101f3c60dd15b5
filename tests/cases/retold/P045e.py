"""A small hook-style trainer with micro-batches."""
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Module(nn.Module):
    def training_step(self, batch):
        raise NotImplementedError

    def configure_optimizers(self):
        raise NotImplementedError


class Fitter:
    def __init__(self, max_epochs, micro_per_step, clip=1.0):
        self.max_epochs = max_epochs
        self.micro_per_step = micro_per_step
        self.clip = clip
        self.global_step = 0

    def _apply(self, module, optimizer, n_samples):
        for p in module.parameters():
            if p.grad is not None:
                p.grad.div_(n_samples)
        nn.utils.clip_grad_norm_(module.parameters(), self.clip)
        optimizer.step()
        optimizer.zero_grad()
        self.global_step += 1

    def fit(self, module, train_loader, val_loader):
        optimizer = module.configure_optimizers()
        for epoch in range(self.max_epochs):
            module.train()
            optimizer.zero_grad()
            pending = n_samples = 0
            for batch in train_loader:
                module.training_step(batch).backward()
                pending += 1
                n_samples += len(batch[0])
                if pending == self.micro_per_step:  # BUG
                    self._apply(module, optimizer, n_samples)
                    pending = n_samples = 0
            # FIX+: if pending:
            # FIX+:     self._apply(module, optimizer, n_samples)
            print(f"epoch {epoch} step {self.global_step} val {self.validate(module, val_loader):.4f}")

    @torch.no_grad()
    def validate(self, module, loader):
        module.eval()
        total = sum(module.training_step(b).item() for b in loader)
        return total / len(loader.dataset)


class Intent(Module):
    """Bag-of-words intent classifier. Losses are summed; the fitter divides by the sample count."""

    def __init__(self, vocab=200, classes=5, dim=24):
        super().__init__()
        self.bag = nn.EmbeddingBag(vocab, dim, mode="mean")
        self.head = nn.Sequential(nn.Dropout(0.1), nn.Linear(dim, classes))
        self.criterion = nn.CrossEntropyLoss(reduction="sum")

    def forward(self, tokens):
        return self.head(self.bag(tokens))

    def training_step(self, batch):
        tokens, intent = batch
        return self.criterion(self(tokens), intent)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def utterances(n, g):
    intent = torch.randint(5, (n,), generator=g)
    tokens = torch.randint(40, (n, 12), generator=g) + 40 * intent[:, None]
    noise = torch.rand(n, 12, generator=g) < 0.3
    return TensorDataset(torch.where(noise, torch.randint(200, (n, 12), generator=g), tokens), intent)


if __name__ == "__main__":
    torch.manual_seed(5)
    g = torch.Generator().manual_seed(5)
    train, val = utterances(176, g), utterances(64, g)
    Fitter(max_epochs=4, micro_per_step=4).fit(
        Intent(), DataLoader(train, batch_size=8, shuffle=True), DataLoader(val, batch_size=32)
    )
