"""Lightning-like hooks: order is training_step, backward, on_before_optimizer_step, step."""
import torch
from torch import nn


class Module(nn.Module):
    def on_before_backward(self, loss):
        pass

    def on_before_optimizer_step(self, optimizer):
        pass

    def log(self, **kw):
        print({k: round(float(v), 4) for k, v in kw.items()})


class Runner:
    def __init__(self, max_epochs, log_every=8):
        self.max_epochs, self.log_every = max_epochs, log_every

    def fit(self, module, data):
        optimizer = module.configure_optimizers()
        step = 0
        for _ in range(self.max_epochs):
            module.train()
            for batch in data:
                loss = module.training_step(batch)
                module.on_before_backward(loss)
                loss.backward()
                module.on_before_optimizer_step(optimizer)
                optimizer.step()
                step += 1
                if step % self.log_every == 0:
                    module.log(step=step, loss=loss.detach())


class AutoEncoder(Module):
    def __init__(self, d=28, code=4):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(d, 32), nn.ReLU(), nn.Linear(32, code))
        self.dec = nn.Sequential(nn.Linear(code, 32), nn.ReLU(), nn.Linear(32, d))

    def training_step(self, batch):
        return nn.functional.mse_loss(self.dec(self.enc(batch)), batch)

    def on_before_optimizer_step(self, optimizer):  # BUG
    # FIX: def on_before_backward(self, loss):
        for p in self.parameters():  # BUG
            p.grad = None  # BUG

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


torch.manual_seed(0)
basis = torch.randn(4, 28)
batches = [torch.randn(32, 4) @ basis for _ in range(8)]
model = AutoEncoder()
Runner(max_epochs=4).fit(model, batches)
model.eval()
with torch.no_grad():
    test = torch.randn(64, 4) @ basis
    print("test mse", model.training_step(test).item())
