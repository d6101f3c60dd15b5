# fit loop with callbacks; divergence is handled by a rollback
import copy

import torch
import torch.nn as nn


class Callback:
    def on_step_end(self, fit, loss): ...
    def on_nan(self, fit): ...


class Rollback(Callback):
    """Keeps a copy of the last good weights."""

    def __init__(self, every):
        self.every, self.kept = every, None

    def keep(self, model):
        self.kept = copy.deepcopy(model.state_dict())

    def restore(self, model):
        model.load_state_dict(self.kept)

    def on_step_end(self, fit, loss):
        if fit.n % self.every == 0:
            self.keep(fit.model)

    def on_nan(self, fit):
        if self.kept is not None:
            self.restore()  # BUG
            # FIX: self.restore(fit.model)


class Fit:
    def __init__(self, model, opt, callbacks):
        self.model, self.opt, self.callbacks, self.n = model, opt, callbacks, 0

    def __call__(self, x, y, steps):
        self.model.train()
        for _ in range(steps):
            self.n += 1
            idx = torch.randint(len(x), (64,))
            loss = nn.functional.huber_loss(self.model(x[idx]), y[idx])
            self.opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.opt.step()
            bad = not torch.isfinite(loss) if self.n % 5 == 0 else False
            for cb in self.callbacks:
                cb.on_nan(self) if bad else cb.on_step_end(self, loss)
        return loss.item()


torch.manual_seed(0)
x = torch.randn(512, 8)
y = torch.sin(x).sum(1, keepdim=True)
net = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 1))
fit = Fit(net, torch.optim.SGD(net.parameters(), lr=0.05), [Rollback(every=10)])
print(fit(x, y, 40))
