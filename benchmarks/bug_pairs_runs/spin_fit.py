"""Train a small regressor of body poses with the project's fitting of the body model in the loop.

fix: a5c629f9
depth: live 60
expects: TW363
where: smplify/smplify.py
stands in: smplx's body model and the mixture prior (their files need a licence): linear ones take their place
"""

from types import SimpleNamespace

import torch
from stand_ins import load, stand_in
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Body(nn.Module):
    def __init__(self, folder, batch_size, create_transl):
        super().__init__()
        drawn = torch.Generator().manual_seed(1)
        self.register_buffer("template", torch.randn(49, 3, generator=drawn) * 0.4)
        self.register_buffer("shapes", torch.randn(10, 49 * 3, generator=drawn) * 0.02)
        self.register_buffer("poses", torch.randn(69, 49 * 3, generator=drawn) * 0.03)

    def forward(self, global_orient, body_pose, betas, return_full_pose=False):
        bodies = self.template + (betas @ self.shapes + body_pose @ self.poses).view(-1, 49, 3)
        zero = torch.zeros_like(global_orient[:, 0])
        x, y, z = global_orient.unbind(1)
        turn = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).view(-1, 3, 3)
        joints = bodies @ torch.matrix_exp(turn).transpose(1, 2)
        return SimpleNamespace(joints=joints, vertices=joints)


class Prior(nn.Module):
    def __init__(self, prior_folder, num_gaussians, dtype):
        super().__init__()

    def forward(self, pose, betas):
        return 0.5 * (pose**2).sum(1)


stand_in("models.smpl", SMPL=Body)
stand_in("smplify.prior", MaxMixturePrior=Prior)
geometry = load("utils/geometry.py")
SMPLify = load("smplify/smplify.py").SMPLify

torch.manual_seed(0)
body = Body("", 8, False)
center = torch.full((1, 2), 112.0)
truth = torch.cat([torch.randn(48, 72) * 0.2, torch.randn(48, 10) * 0.5], 1)
away = torch.tensor([0.0, 0.0, 45.0]) + torch.randn(48, 3) * torch.tensor([0.1, 0.1, 2.0])
joints = body(truth[:, :3], truth[:, 3:72], truth[:, 72:]).joints
points = geometry.perspective_projection(joints, torch.eye(3).expand(48, 3, 3), away, 5000.0, center.expand(48, 2))
points = torch.cat([points + torch.randn_like(points), torch.rand(48, 49, 1) * 0.5 + 0.5], 2)
features = torch.cat([truth, away], 1) @ torch.randn(85, 64) + torch.randn(48, 64) * 0.1
loader = DataLoader(TensorDataset(features[:40], points[:40]), batch_size=8, shuffle=True)

smplify = SMPLify(step_size=1e-2, batch_size=8, num_iters=20, focal_length=5000.0, device=torch.device("cpu"))
regressor = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 85))
optimizer = torch.optim.Adam(regressor.parameters(), lr=1e-3)
for epoch in range(3):
    regressor.train()
    for seen, keypoints in loader:
        pose, betas, camera = regressor(seen).split([72, 10, 3], 1)
        camera = camera + torch.tensor([0.0, 0.0, 45.0])
        _, _, fit_pose, fit_betas, fit_camera, error = smplify(
            pose.detach(), betas.detach(), camera.detach(), center.expand(8, 2), keypoints.clone()
        )
        loss = ((pose - fit_pose) ** 2).mean() + ((betas - fit_betas) ** 2).mean() + ((camera - fit_camera) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    regressor.eval()
    with torch.no_grad():
        pose, betas, camera = regressor(features[40:]).split([72, 10, 3], 1)
    camera = camera + torch.tensor([0.0, 0.0, 45.0])
    test_error = smplify.get_fitting_loss(pose, betas, camera, center.expand(8, 2), points[40:].clone()).mean()
    print(f"epoch {epoch}: fitting error {error.mean().item():.1f} loss {loss.item():.4f} test {test_error.item():.1f}")
