"""Train the project's LeNet5, then attack it with the one-step attacks and save the adversarial pictures by attack.

fix: 6f6de54b
depth: live 60
expects: -
where: program
stands in: torchvision's transforms, which are not used here
"""

import sys

import torch
import torch.nn.functional as F
from stand_ins import stand_in

stand_in("torchvision.transforms")
# an attack that is not used here imports what newer torch no longer has
vars(sys.modules["torch.autograd.gradcheck"]).setdefault("zero_gradients", None)
from advertorch.attacks import GradientAttack, GradientSignAttack
from advertorch.context import ctx_noparamgrad_and_eval
from advertorch.test_utils import LeNet5
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
prototypes = torch.rand(10, 1, 28, 28)


def digits(size):
    labels = torch.randint(0, 10, (size,))
    return TensorDataset((prototypes[labels] + 0.2 * torch.randn(size, 1, 28, 28)).clamp(0, 1), labels)


train_loader = DataLoader(digits(180), batch_size=32, shuffle=True)
test_loader = DataLoader(digits(75), batch_size=25)

model = LeNet5()
optimizer = optim.Adam(model.parameters(), lr=3e-3)
loss_fn = nn.CrossEntropyLoss(reduction="sum")
training_adversary = GradientSignAttack(model, loss_fn=loss_fn, eps=0.1)
for epoch in range(3):
    model.train()
    for data, target in train_loader:
        with ctx_noparamgrad_and_eval(model):
            data = training_adversary.perturb(data, target)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(data), target)
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: loss {loss.item():.3f}")

model.eval()
adversaries = {
    "sign": GradientSignAttack(model, loss_fn=loss_fn, eps=0.2),
    "gradient": GradientAttack(model, loss_fn=loss_fn, eps=3.0),
}
for name, adversary in adversaries.items():
    pictures, labels, predictions = [], [], []
    for data, target in test_loader:
        adversarial = adversary.perturb(data, target)
        with torch.no_grad():
            predictions.append(model(adversarial).argmax(1))
        pictures.append(adversarial)
        labels.append(target)
    accuracy = (torch.cat(predictions) == torch.cat(labels)).float().mean().item()
    print(f"{name}: accuracy {accuracy:.2f} on {len(torch.cat(pictures))} adversarial pictures")
    torch.save({"pictures": torch.cat(pictures), "labels": torch.cat(labels)}, f"adversarial_{name}.pt")
