"""Train the project's small hierarchical VAE on invented binary pictures, save it, load it again and evaluate.

fix: 2f5d7b5f
depth: live 60
expects: -
where: program
needs: booster-pytorch
stands in: matplotlib and torchvision
"""

import tempfile
from pathlib import Path

import torch
from stand_ins import stand_in
from torch.distributions import Bernoulli
from torch.utils.data import DataLoader, Dataset

stand_in("torchvision")
stand_in("torchvision.utils")
stand_in("matplotlib")
stand_in("matplotlib.image")
stand_in("matplotlib.pyplot")

from biva.evaluation import VariationalInference
from biva.model import BIVA, DenseNormal
from biva.utils import LowerBoundedExponentialLR, test_step, training_step

torch.manual_seed(0)


class Strokes(Dataset):
    def __init__(self, count):
        self.pictures = torch.zeros(count, 1, 16, 16)
        for picture in self.pictures:
            row, column = torch.randint(2, 13, (2,)).tolist()
            picture[0, row : row + 2] = 1
            picture[0, :, column : column + 2] = 1

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, index):
        return self.pictures[index]


def build():
    return BIVA(
        tensor_shp=(-1, 1, 16, 16),
        stages=[[[16, 3, 1], [16, 3, 2]], [[16, 3, 1], [16, 3, 2]]],
        latents=[{"N": 8, "block": DenseNormal}, {"N": 4, "block": DenseNormal}],
        nonlinearity="elu",
        log_var_act=torch.nn.Softplus,
    )


def evaluate(model):
    total = 0.0
    for x in test:
        total += test_step(x, model, evaluator)["loss"]["elbo"].sum().item()
    return total / len(test.dataset)


train = DataLoader(Strokes(96), batch_size=16, shuffle=True)
test = DataLoader(Strokes(32), batch_size=16)
evaluator = VariationalInference(Bernoulli)
model = build()
with torch.no_grad():
    model.train()
    model(next(iter(train)))
optimizer = torch.optim.Adamax(model.parameters(), lr=2e-2)
scheduler = LowerBoundedExponentialLR(optimizer, 0.999999, 0.0001)

for epoch in range(4):
    for x in train:
        diagnostics = training_step(x, model, evaluator, optimizer, scheduler)
    print(f"epoch {epoch}: train {diagnostics['loss']['elbo'].mean().item():.2f}, test {evaluate(model):.2f}")

checkpoint = Path(tempfile.mkdtemp()) / "model.pt"
torch.save(model.state_dict(), checkpoint)
loaded = build()
loaded.load_state_dict(torch.load(checkpoint))
print(f"loaded again: test {evaluate(loaded):.2f}")
