# conditional VAE for drum envelopes, callback style
import torch
import torch.nn as nn


class CVAE(nn.Module):
    def __init__(self, length=64, z=8, classes=4):
        super().__init__()
        self.z, self.cond = z, nn.Embedding(classes, 16)
        self.enc = nn.Sequential(nn.Linear(length + 16, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(),
                                 nn.Linear(64, 2 * z))
        self.dec = nn.Sequential(nn.Linear(z + 16, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(),
                                 nn.Dropout(0.1), nn.Linear(64, length))

    def decode(self, z, c):
        return self.dec(torch.cat([z, self.cond(c)], dim=1))

    def forward(self, x, c):
        mu, logvar = self.enc(torch.cat([x, self.cond(c)], dim=1)).chunk(2, dim=1)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
        kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1).mean()
        return self.decode(z, c), kl


class Callback:
    def after_step(self, loop): ...


class LossPrinter(Callback):
    def after_step(self, loop):
        if loop.i % 10 == 0:
            print(loop.i, "loss %.3f" % loop.loss.item())


class Listener(Callback):
    """Draws one example per class from the prior now and then."""

    def __init__(self, every):
        self.every = every

    def after_step(self, loop):
        if loop.i % self.every:
            return
        was = torch.is_grad_enabled()
        # FIX+: loop.model.eval()
        torch.set_grad_enabled(False)
        c = torch.arange(4)
        env = loop.model.decode(torch.randn(4, loop.model.z), c)  # BUG
        torch.set_grad_enabled(was)
        # FIX+: loop.model.train()
        print(loop.i, "peaks", [round(v, 2) for v in env.amax(1).tolist()])


class Loop:
    def __init__(self, model, cbs):
        self.model, self.cbs, self.i = model, cbs, 0
        self.opt = torch.optim.Adam(model.parameters(), lr=3e-3)

    def run(self, x, c, steps):
        self.model.train()
        for self.i in range(1, steps + 1):
            b = torch.randint(len(x), (32,))
            rec, kl = self.model(x[b], c[b])
            self.loss = (rec - x[b]).square().sum(1).mean() + 0.1 * kl
            self.opt.zero_grad()
            self.loss.backward()
            self.opt.step()
            for cb in self.cbs:
                cb.after_step(self)


torch.manual_seed(0)
c = torch.randint(4, (256,))
x = torch.exp(-torch.linspace(0, 4, 64) * (1 + c.unsqueeze(1))) + 0.02 * torch.randn(256, 64)
Loop(CVAE(), [LossPrinter(), Listener(every=10)]).run(x, c, 30)
