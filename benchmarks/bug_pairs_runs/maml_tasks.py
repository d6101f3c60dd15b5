"""Meta-train the project's MAML learner on invented tasks of small characters and test it on new ones.

fix: d55ffb8c
depth: live 60
expects: -
where: program
"""

import warnings
from argparse import Namespace

import numpy as np
import torch

warnings.filterwarnings("ignore", category=SyntaxWarning)

from meta import Meta
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(0)
np.random.seed(0)


class Tasks(Dataset):
    def __init__(self, count, args):
        self.args = args
        self.characters = (torch.rand(count, args.n_way, 1, 14, 14) < 0.3).float()

    def __len__(self):
        return len(self.characters)

    def draw(self, characters, each):
        pictures = characters.repeat_interleave(each, 0)
        labels = torch.arange(len(characters)).repeat_interleave(each)
        order = torch.randperm(len(labels))
        return (pictures + 0.3 * torch.randn_like(pictures))[order], labels[order]

    def __getitem__(self, index):
        support = self.draw(self.characters[index], self.args.k_spt)
        return *support, *self.draw(self.characters[index], self.args.k_qry)


args = Namespace(
    n_way=5, k_spt=1, k_qry=5, imgsz=14, imgc=1, task_num=4, meta_lr=1e-3, update_lr=0.1, update_step=3,
    update_step_test=5,
)  # fmt: skip
config = [
    ("conv2d", [16, 1, 3, 3, 2, 0]),
    ("relu", [True]),
    ("bn", [16]),
    ("conv2d", [16, 16, 3, 3, 2, 0]),
    ("relu", [True]),
    ("bn", [16]),
    ("flatten", []),
    ("linear", [args.n_way, 64]),
]
maml = Meta(args, config)
train = DataLoader(Tasks(40, args), batch_size=args.task_num, shuffle=True)
test = DataLoader(Tasks(8, args), batch_size=1)

for epoch in range(3):
    for x_spt, y_spt, x_qry, y_qry in train:
        accuracies = maml(x_spt, y_spt, x_qry, y_qry)
    print(f"epoch {epoch}: training accuracy", accuracies.round(3))
    results = [maml.finetunning(*(part.squeeze(0) for part in task)) for task in test]
    print("         test accuracy", np.array(results).mean(0).round(3))
