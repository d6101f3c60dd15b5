"""Learn two permuted picture tasks one after another with elastic weight consolidation.

fix: 4afaa666
depth: live 60
expects: -
where: program
needs: tqdm
stands in: the plots in visdom, the old name of an initializer
"""

import torch
from stand_ins import stand_in

stand_in("visdom")
stand_in("visual", visualize_scalars=lambda *args: None)

import utils
from model import MLP
from torch.utils.data import TensorDataset

from train import train

torch.nn.init.xavier_normal = torch.nn.init.xavier_normal_


def make_task(pictures, labels, permutation):
    return TensorDataset(pictures[:, permutation].view(-1, 1, 8, 8), labels)


torch.manual_seed(0)
centres = torch.rand(10, 64)


def make_pictures(count):
    labels = torch.randint(10, (count,))
    return centres[labels] + 0.2 * torch.randn(count, 64), labels


permutations = [torch.randperm(64) for _ in range(2)]
training, testing = make_pictures(512), make_pictures(256)
train_datasets = [make_task(*training, permutation) for permutation in permutations]
test_datasets = [make_task(*testing, permutation) for permutation in permutations]

mlp = MLP(64, 10, hidden_size=32, hidden_layer_num=1, lamda=40)
utils.xavier_initialize(mlp)
train(
    mlp, train_datasets, test_datasets, epochs_per_task=12, batch_size=64, test_size=256, consolidate=True,
    fisher_estimation_sample_size=128, lr=0.1, weight_decay=0, eval_log_interval=5, loss_log_interval=5,
)  # fmt: skip
for number, dataset in enumerate(test_datasets, 1):
    print(f"task {number}: precision {utils.validate(mlp, dataset, verbose=False):.3f}")
