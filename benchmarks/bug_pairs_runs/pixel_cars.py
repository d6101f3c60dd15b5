"""Train pixelNeRF on invented objects that one camera model has seen from several sides, and render held-out views.

fix: af5383a9
depth: live 60
expects: -
where: program
needs: pyhocon, pyparsing, dotmap
stands in: cv2, torchvision (a small network in place of its ResNet)
"""

import math
import sys

import numpy as np
import torch
from pyhocon import ConfigFactory
from stand_ins import stand_in
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Backbone(nn.Module):
    def __init__(self, pretrained, norm_layer):
        super().__init__()
        self.conv1, self.bn1, self.relu = nn.Conv2d(3, 64, 5, 2, 2, bias=False), norm_layer(64), nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(nn.Conv2d(64, 64, 3, 1, 1, bias=False), norm_layer(64), nn.ReLU())


stand_in("cv2")
stand_in("torchvision", models=stand_in("torchvision.models", resnet18=Backbone))
sys.path.insert(0, "src")

import util
from model import make_model
from render import NeRFRenderer

np.random.seed(0)
torch.manual_seed(0)
SIZE, NEAR, FAR, VIEWS = 32, 0.8, 2.4, 3
focal = torch.tensor([[38.0, 40.0]])


def look(angle, height):
    eye = torch.tensor([math.cos(angle) * 1.5, math.sin(angle) * 1.5, height])
    back = eye / eye.norm()
    right = torch.linalg.cross(torch.tensor([0.0, 0.0, 1.0]), back)
    right = right / right.norm()
    pose = torch.eye(4)
    pose[:3, :4] = torch.stack((right, torch.linalg.cross(back, right), back, eye), 1)
    return pose


def make_objects(count):
    poses = torch.stack([look(2 * math.pi * i / VIEWS, 0.5) for i in range(VIEWS)]).repeat(count, 1, 1)
    rays = util.gen_rays(poses, SIZE, SIZE, focal, NEAR, FAR)
    centers = (torch.rand(count, 3) * 0.6 - 0.3).repeat_interleave(VIEWS, 0)[:, None, None]
    colors = torch.rand(count, 3).repeat_interleave(VIEWS, 0)[:, None, None]
    origin, direction = rays[..., :3], rays[..., 3:6]
    along = ((centers - origin) * direction).sum(-1, keepdim=True)
    distance = (origin + along * direction - centers).norm(dim=-1, keepdim=True)
    images = torch.where(distance < 0.3, colors, torch.ones(3)).permute(0, 3, 1, 2)
    split = [part.reshape(count, VIEWS, *part.shape[1:]) for part in (images, poses, rays)]
    return TensorDataset(*split)


conf = ConfigFactory.parse_file("conf/default.conf")
small = """
model { mlp_coarse { n_blocks = 2, d_hidden = 48 }, mlp_fine { n_blocks = 2, d_hidden = 48 }
        encoder { backbone = resnet18, pretrained = False, num_layers = 2 } }
renderer { n_coarse = 16, n_fine = 8, n_fine_depth = 4 }
"""
conf = ConfigFactory.parse_string(small).with_fallback(conf)
net = make_model(conf["model"])
renderer = NeRFRenderer.from_conf(conf["renderer"], white_bkgd=True)
optimizer = torch.optim.Adam(net.parameters(), lr=5e-4)
training = DataLoader(make_objects(16), batch_size=4, shuffle=True)
validation = DataLoader(make_objects(4), batch_size=2)

for epoch in range(4):
    net.train()
    renderer.train()
    for images, poses, rays in training:
        net.encode(images[:, :1] * 2 - 1, poses[:, :1], focal)
        pixels = torch.randint(VIEWS * SIZE * SIZE, (96,))
        wanted = images.permute(0, 1, 3, 4, 2).reshape(len(images), -1, 3)[:, pixels]
        rendered = renderer(net, rays.reshape(len(images), -1, 8)[:, pixels])
        loss = ((rendered.coarse.rgb - wanted) ** 2).mean() + ((rendered.fine.rgb - wanted) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    renderer.eval()
    errors = []
    with torch.no_grad():
        for images, poses, rays in validation:
            net.encode(images[:, :1] * 2 - 1, poses[:, :1], focal)
            rendered = renderer(net, rays[:, 1].reshape(len(images), -1, 8))
            wanted = images[:, 1].permute(0, 2, 3, 1).reshape(len(images), -1, 3)
            errors.append(((rendered.fine.rgb - wanted) ** 2).mean().item())
    print(f"epoch {epoch}: loss {loss.item():.4f} psnr {-10 * math.log10(sum(errors) / len(errors)):.2f}")
