"""Train a small trunk of the project to predict distances between residues of invented chains with alignments.

fix: fee07758
depth: live 60
expects: -
where: program
needs: einops
stands in: pytorch3d, en_transformer, invariant_point_attention and the tools for proteins in the project's utils
"""

import contextlib

import torch
import torch.nn.functional as F
from stand_ins import load, stand_in
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


class Empty(nn.Module):
    def __init__(self, *args, **kwargs):
        super().__init__()


@contextlib.contextmanager
def torch_default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    yield
    torch.set_default_dtype(before)


stand_in("pytorch3d.transforms")
stand_in("en_transformer", EnTransformer=Empty)
stand_in("invariant_point_attention", IPATransformer=Empty)
constants = load("alphafold2_pytorch/constants.py")
stand_in("alphafold2_pytorch.utils", torch_default_dtype=torch_default_dtype)
Alphafold2 = load("alphafold2_pytorch/alphafold2.py").Alphafold2

LENGTH, ROWS = 16, 4


def make_chains(count):
    seq = torch.randint(constants.NUM_AMINO_ACIDS, (count, LENGTH))
    msa = seq[:, None].repeat(1, ROWS, 1)
    changed = torch.rand(msa.shape) < 0.2
    msa = torch.where(changed, torch.randint(constants.NUM_AMINO_ACIDS, msa.shape), msa)
    steps = torch.randn(count, LENGTH, 3) * (1 + seq[..., None] / 7)
    coords = steps.cumsum(1)
    edges = torch.linspace(2, 20, constants.DISTOGRAM_BUCKETS)[:-1]
    return TensorDataset(seq, msa, torch.bucketize(torch.cdist(coords, coords), edges))


def loss_of(model, seq, msa, buckets):
    mask, msa_mask = torch.ones_like(seq).bool(), torch.ones_like(msa).bool()
    predicted = model(seq, msa, mask=mask, msa_mask=msa_mask)
    return F.cross_entropy(predicted.distance.permute(0, 3, 1, 2), buckets)


torch.manual_seed(0)
training, validation = random_split(make_chains(40), [32, 8])
training = DataLoader(training, batch_size=4, shuffle=True)
validation = DataLoader(validation, batch_size=4)
model = Alphafold2(dim=16, depth=1, heads=2, dim_head=8)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(3):
    model.train()
    for batch in training:
        loss = loss_of(model, *batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        losses = [loss_of(model, *batch).item() for batch in validation]
    print(f"epoch {epoch}: training {loss.item():.4f} validation {sum(losses) / len(losses):.4f}")
