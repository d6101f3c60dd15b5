"""Train the equivariant graph network to remove noise from chains of different lengths, and validate after each epoch.

fix: 878dd8e4
depth: live 60
expects: -
where: program
needs: einops
"""

import torch
import torch.nn.functional as F
from egnn_pytorch.egnn_pytorch import EGNN_Network
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader


def collate(chains):
    tokens, coords = zip(*chains)
    lengths = torch.tensor([len(chain) for chain in tokens])
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    return pad_sequence(tokens, batch_first=True), pad_sequence(coords, batch_first=True), mask


def make_chains(count):
    lengths = torch.randint(8, 17, (count,)).tolist()
    return [(torch.randint(21, (length,)), torch.randn(length, 3).cumsum(0)) for length in lengths]


def denoise(net, tokens, coords, mask):
    at = torch.arange(tokens.shape[1])
    neighbors = (at[:, None] >= (at[None, :] - 1)) & (at[:, None] <= (at[None, :] + 1))
    noised = coords + torch.randn_like(coords)
    _, denoised = net(tokens, noised, adj_mat=neighbors, mask=mask)
    return F.mse_loss(denoised[mask], coords[mask])


net = EGNN_Network(
    num_tokens=21, depth=3, dim=8, num_nearest_neighbors=0, fourier_features=2, norm_coors=True, adj_dim=4,
    num_adj_degrees=2, only_sparse_neighbors=True,
)  # fmt: skip
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
training = DataLoader(make_chains(42), batch_size=4, shuffle=True, collate_fn=collate)
validation = DataLoader(make_chains(10), batch_size=4, collate_fn=collate)
for epoch in range(3):
    net.train()
    for tokens, coords, mask in training:
        loss = denoise(net, tokens, coords, mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        losses = [(denoise(net, *batch).item(), int(batch[2].sum())) for batch in validation]
    atoms = sum(count for _, count in losses)
    print(f"epoch {epoch}: training {loss.item():.3f} validation {sum(x * n for x, n in losses) / atoms:.3f}")
