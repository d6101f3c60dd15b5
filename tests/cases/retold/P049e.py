"""Fine-tuning a two-tower image/text matcher with a fixed pretrained temperature."""
import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def get_args():
    p = argparse.ArgumentParser()
    p.add_argument("--logit-scale", type=float, default=100.0)
    p.add_argument("--dim", type=int, default=32)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--epochs", type=int, default=2)
    p.add_argument("--seed", type=int, default=5)
    return p.parse_args()


class Tower(nn.Module):
    def __init__(self, n_in, dim):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(n_in, 64), nn.GELU(), nn.LayerNorm(64), nn.Linear(64, dim))

    def forward(self, x):
        return F.normalize(self.net(x), dim=-1)


def matching_loss(scores):
    """Mean negative log probability of the pair on the diagonal, given the row."""
    e = scores.exp()  # BUG
    # FIX: logp = scores.log_softmax(dim=1)
    likelihood = e.diagonal().div(e.sum(dim=1))  # BUG
    # FIX:
    return likelihood.log().neg().mean()  # BUG
    # FIX: return logp.diagonal().neg().mean()


class Matcher(nn.Module):
    def __init__(self, n_image, n_text, dim, scale):
        super().__init__()
        self.image, self.text = Tower(n_image, dim), Tower(n_text, dim)
        self.register_buffer("scale", torch.tensor(scale))

    def forward(self, image, text):
        return self.scale * self.image(image) @ self.text(text).t()


def paired_data(n, g):
    topic = torch.randn(n, 8, generator=g)
    to_image, to_text = torch.randn(8, 48, generator=g), torch.randn(8, 24, generator=g)
    image = topic @ to_image + 0.1 * torch.randn(n, 48, generator=g)
    text = topic @ to_text + 0.1 * torch.randn(n, 24, generator=g)
    return image / image.std(), text / text.std()


def recall_at_1(model, image, text):
    model.eval()
    with torch.no_grad():
        hit = model(image, text).argmax(dim=1) == torch.arange(len(image))
    return hit.float().mean().item()


def main():
    args = get_args()
    torch.manual_seed(args.seed)
    image, text = paired_data(320, torch.Generator().manual_seed(args.seed))
    held_image, held_text = image[256:], text[256:]
    loader = DataLoader(TensorDataset(image[:256], text[:256]), batch_size=32, shuffle=True, drop_last=True)

    model = Matcher(48, 24, args.dim, args.logit_scale)
    optim = torch.optim.AdamW(model.parameters(), lr=args.lr)
    for epoch in range(args.epochs):
        model.train()
        for step, (img, txt) in enumerate(loader):
            scores = model(img, txt)
            loss = 0.5 * (matching_loss(scores) + matching_loss(scores.t()))
            optim.zero_grad()
            loss.backward()
            optim.step()
            if step % 4 == 0:
                print(f"epoch {epoch} step {step} loss {loss.item():.4f}")
        print(f"epoch {epoch} R@1 {recall_at_1(model, held_image, held_text):.3f}")


if __name__ == "__main__":
    main()
