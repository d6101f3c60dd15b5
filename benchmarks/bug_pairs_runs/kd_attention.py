"""Train a teacher, and a smaller student with the project's attention distillation, on invented pictures.

fix: 15784f08
depth: live 60
expects: -
where: program
stands in: matplotlib, tensorboard, transformers and others that this part of the project does not use
"""

import torch
from stand_ins import load, package, stand_in
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

stand_in("torch.utils.tensorboard")
stand_in("matplotlib.pyplot")
package("KD_Lib")
package("KD_Lib.KD")
stand_in("KD_Lib.KD.common", BaseClass=load("KD_Lib/KD/common/base_class.py").BaseClass)
Attention = load("KD_Lib/KD/vision/attention/attention.py").Attention


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.block2 = nn.Sequential(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.ReLU())
        self.classify = nn.Linear(2 * width, 5)

    def forward(self, pictures):
        early = self.block1(pictures)
        late = self.block2(early)
        return self.classify(late.mean((2, 3))), early, late


torch.manual_seed(0)
labels = torch.randint(5, (320,))
pictures = torch.randn(320, 1, 12, 12)
pictures[torch.arange(320), 0, labels * 2] += 2
training, validation = random_split(TensorDataset(pictures, labels), [256, 64])
training = DataLoader(training, batch_size=32, shuffle=True)
validation = DataLoader(validation, batch_size=32)

teacher, student = Net(16), Net(6)
distiller = Attention(
    teacher, student, training, validation,
    torch.optim.Adam(teacher.parameters(), lr=1e-2), torch.optim.Adam(student.parameters(), lr=1e-2),
    temp=2.0, distil_weight=0.5,
)  # fmt: skip
distiller.train_teacher(epochs=4, plot_losses=False, save_model=False)
distiller.evaluate(teacher=True)
distiller.train_student(epochs=6, plot_losses=False, save_model=False)
distiller.evaluate()
