"""WGAN with gradient penalty: gradients of gradients, five critic steps for one of the generator."""

import argparse

import torch
from torch import autograd, nn, optim

parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int, default=256)
parser.add_argument("--width", type=int, default=512)
parser.add_argument("--iterations", type=int, default=1000)
parser.add_argument("--critic-iters", type=int, default=5)
parser.add_argument("--penalty", type=float, default=10.0)
args = parser.parse_args()
device = "cuda" if torch.cuda.is_available() else "cpu"


def mlp(i, o):
    w = args.width
    return nn.Sequential(
        nn.Linear(i, w), nn.ReLU(True), nn.Linear(w, w), nn.ReLU(True), nn.Linear(w, w), nn.ReLU(True), nn.Linear(w, o)
    )


def real_batch():
    centers = torch.randint(0, 8, (args.batch_size,)) * torch.pi / 4
    points = 2 * torch.stack([centers.cos(), centers.sin()], 1) + 0.02 * torch.randn(args.batch_size, 2)
    return points.to(device)


def gradient_penalty(critic, real, fake):
    alpha = torch.rand(real.size(0), 1, device=device).expand_as(real)
    mixed = autograd.Variable(alpha * real + (1 - alpha) * fake, requires_grad=True)
    scores = critic(mixed)
    (grads,) = autograd.grad(
        outputs=scores, inputs=mixed, grad_outputs=torch.ones_like(scores), create_graph=True, retain_graph=True
    )
    return args.penalty * ((grads.norm(2, dim=1) - 1) ** 2).mean()


generator, critic = mlp(2, 2).to(device), mlp(2, 1).to(device)
optimizer_c = optim.Adam(critic.parameters(), lr=1e-4, betas=(0.5, 0.9))
optimizer_g = optim.Adam(generator.parameters(), lr=1e-4, betas=(0.5, 0.9))
for iteration in range(args.iterations):
    for p in critic.parameters():
        p.requires_grad = True
    for _ in range(args.critic_iters):
        real = real_batch()
        with torch.no_grad():
            fake = generator(torch.randn(args.batch_size, 2, device=device))
        critic.zero_grad()
        distance = critic(real).mean() - critic(fake).mean()
        cost = -distance + gradient_penalty(critic, real, fake)
        cost.backward()
        optimizer_c.step()
    for p in critic.parameters():
        p.requires_grad = False
    generator.zero_grad()
    g_cost = -critic(generator(torch.randn(args.batch_size, 2, device=device))).mean()
    g_cost.backward()
    optimizer_g.step()
    if iteration % 10 == 0:
        print(f"{iteration} wasserstein {distance.item():.4f} critic {cost.item():.4f} generator {g_cost.item():.4f}")
