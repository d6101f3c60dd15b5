"""Train a small diffusion transformer on invented latents with classes, and validate each epoch.

fix: c9f545c5
depth: live 60
expects: -
where: program
stands in: timm's patch embedding, attention and mlp
"""

import torch
from stand_ins import stand_in
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class PatchEmbed(nn.Module):
    def __init__(self, img_size, patch_size, in_chans, embed_dim, bias=True):
        super().__init__()
        self.patch_size = (patch_size, patch_size)
        self.num_patches = (img_size // patch_size) ** 2
        self.proj = nn.Conv2d(in_chans, embed_dim, patch_size, patch_size, bias=bias)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    def __init__(self, dim, num_heads=8, qkv_bias=False):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        count, length, dim = x.shape
        qkv = self.qkv(x).reshape(count, length, 3, self.num_heads, dim // self.num_heads).permute(2, 0, 3, 1, 4)
        x = nn.functional.scaled_dot_product_attention(*qkv)
        return self.proj(x.transpose(1, 2).reshape(count, length, dim))


class Mlp(nn.Module):
    def __init__(self, in_features, hidden_features, act_layer, drop):
        super().__init__()
        self.fc1, self.act = nn.Linear(in_features, hidden_features), act_layer()
        self.fc2, self.drop = nn.Linear(hidden_features, in_features), nn.Dropout(drop)

    def forward(self, x):
        return self.drop(self.fc2(self.drop(self.act(self.fc1(x)))))


stand_in("timm.models.vision_transformer", PatchEmbed=PatchEmbed, Attention=Attention, Mlp=Mlp)

from diffusion import create_diffusion
from models import DiT


def latents(count):
    classes = torch.randint(4, (count,))
    return TensorDataset(means[classes] + 0.3 * torch.randn(count, 4, 8, 8), classes)


torch.manual_seed(0)
means = torch.randn(4, 4, 8, 8)
training = DataLoader(latents(160), batch_size=16, shuffle=True, drop_last=True)
validation = DataLoader(latents(48), batch_size=16)
model = DiT(input_size=8, patch_size=2, in_channels=4, hidden_size=48, depth=2, num_heads=4, num_classes=4)
diffusion = create_diffusion(timestep_respacing="")
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0)

for epoch in range(4):
    model.train()
    total = 0.0
    for x, y in training:
        t = torch.randint(diffusion.num_timesteps, (len(x),))
        loss = diffusion.training_losses(model, x, t, {"y": y})["loss"].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    model.eval()
    with torch.no_grad():
        losses = []
        for x, y in validation:
            t = torch.randint(diffusion.num_timesteps, (len(x),))
            losses.append(diffusion.training_losses(model, x, t, {"y": y})["loss"].mean().item())
    print(f"epoch {epoch}: loss {total / len(training):.4f} validation {sum(losses) / len(losses):.4f}")
