"""Fit a Real NVP with the project's layers to a target with two modes, save it, and load it for further use.

fix: 13c1989b
depth: live 60
expects: -
where: program
"""

import normflow as nf
import numpy as np
import torch


def build():
    mask = torch.tensor([1.0, 0.0])
    flows = []
    for i in range(8):
        s = nf.nets.MLP([2, 4, 2], init_zeros=True)
        t = nf.nets.MLP([2, 4, 2], init_zeros=True)
        flows += [nf.flows.MaskedAffineFlow(mask if i % 2 == 0 else 1 - mask, s, t)]
        flows += [nf.flows.ActNorm(2)]
    return nf.NormalizingFlow(q0=nf.distributions.DiagGaussian(2), flows=flows, p=nf.distributions.TwoModes(2, 0.1))


torch.manual_seed(0)
model = build()
model.sample(num_samples=128)  # sets the ActNorm layers
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=1e-6)
for step in range(60):
    optimizer.zero_grad()
    loss = model.reverse_kld(40, beta=np.min([1.0, 0.01 + step / 40]))
    if ~(torch.isnan(loss) | torch.isinf(loss)):
        loss.backward()
        optimizer.step()
    if step % 10 == 9:
        print(step, loss.item())
model.save("real_nvp.pt")

loaded = build()
loaded.load("real_nvp.pt")
points = torch.randn(200, 2)
with torch.no_grad():
    print("log-likelihood:", loaded.log_prob(points).mean())
    samples, _ = loaded.sample(500)
    print("mean radius:", samples.norm(dim=1).mean())
optimizer = torch.optim.Adam(loaded.parameters(), lr=1e-3)
for step in range(20):
    optimizer.zero_grad()
    loss = loaded.reverse_kld(40)
    loss.backward()
    optimizer.step()
print("after fine-tuning:", loss.item())
