"""Autoencoder; hooks log activation statistics."""
import argparse

import torch
import torch.nn as nn


class ActivationStats:
    def __init__(self):
        self.values = {}

    def attach(self, name, module):
        module.register_forward_hook(lambda m, inp, out: self.values.__setitem__(name, out.detach().std()))


class Encoder(nn.Module):
    def __init__(self, d_in, d):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(d_in, d), nn.ReLU(), nn.Linear(d, d))

    def forward(self, x):
        return self.net(x)


class Decoder(nn.Module):
    def __init__(self, d, d_out):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, d_out))

    def forward(self, z):
        return self.net(z)


class AutoEncoder(nn.Module):
    def __init__(self, d_in, d):
        super().__init__()
        self.encoder, self.decoder = Encoder(d_in, d), Decoder(d, d_in)

    def forward(self, x):
        z = self.encoder.forward(x)  # BUG
        # FIX: z = self.encoder(x)
        return self.decoder(z), z


class Trainer:
    def __init__(self, args):
        self.args = args
        self.model = AutoEncoder(32, args.latent)
        self.stats = ActivationStats()
        self.stats.attach("latent", self.model.encoder)
        self.stats.attach("recon", self.model.decoder)
        self.opt = torch.optim.Adam(self.model.parameters(), lr=args.lr)
        self.x = torch.randn(256, 32)

    def run(self):
        self.model.train()
        for step in range(self.args.steps):
            xb = self.x[torch.randint(256, (64,))]
            recon, z = self.model(xb)
            loss = nn.functional.mse_loss(recon, xb) + 1e-3 * z.pow(2).mean()
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
        print(f"loss {loss.item():.4f}", {k: round(v.item(), 3) for k, v in self.stats.values.items()})


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--latent", type=int, default=16)
    ap.add_argument("--lr", type=float, default=1e-3)
    ap.add_argument("--steps", type=int, default=20)
    torch.manual_seed(0)
    Trainer(ap.parse_args()).run()
