"""Fine-tune the head of a 'pretrained' audio encoder."""
import torch
import torch.nn as nn


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(1, 8, 9, stride=4), nn.GELU(), nn.Conv1d(8, 16, 9, stride=4), nn.GELU()
        )

    def forward(self, wav):
        return self.layers(wav).mean(dim=-1)


class GenreModel(nn.Module):
    def __init__(self, n_genres):
        super().__init__()
        self.encoder = Encoder()
        self.head = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, n_genres))

    def forward(self, wav):
        return self.head(self.encoder(wav))


def set_trainable(module: nn.Module, flag: bool) -> None:
    for weight in module.parameters():
        weight.requires_gradient = flag  # BUG
        # FIX: weight.requires_grad = flag


def make_optimizer(model, lr=1e-2):
    chosen = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.SGD(chosen, lr=lr, momentum=0.9, weight_decay=1e-4)


def waves(n, gen):
    genre = torch.randint(0, 3, (n,), generator=gen)
    t = torch.arange(512) / 512
    freq = torch.tensor([5.0, 20.0, 60.0])[genre]
    wav = torch.sin(2 * torch.pi * freq[:, None] * t[None, :])
    return (wav + 0.1 * torch.randn(n, 512, generator=gen)).unsqueeze(1), genre


def main():
    torch.manual_seed(2)
    gen = torch.Generator().manual_seed(2)
    checkpoint = Encoder().state_dict()  # stands for the published weights

    model = GenreModel(3)
    model.encoder.load_state_dict(checkpoint)
    set_trainable(model.encoder, False)
    optimizer = make_optimizer(model)
    loss_fn = nn.CrossEntropyLoss()

    x, y = waves(192, gen)
    for epoch in range(6):
        model.train()
        model.encoder.eval()
        for idx in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            loss = loss_fn(model(x[idx]), y[idx])
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: {loss.item():.4f}")

    model.eval()
    with torch.no_grad():
        xv, yv = waves(60, gen)
        print("acc", (model(xv).argmax(1) == yv).float().mean().item())


if __name__ == "__main__":
    main()
