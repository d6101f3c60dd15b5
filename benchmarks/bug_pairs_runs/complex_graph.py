"""Train the ComplEx embedding of a small knowledge graph against all entities, and rank held-out triples each epoch.

fix: 2ec2858c
depth: live 60
expects: TW397
where: model.py
stands in: spodernet; old names of torch's initialisers
"""

import torch
from stand_ins import stand_in
from torch.utils.data import DataLoader, TensorDataset

torch.nn.init.xavier_normal, torch.nn.init.xavier_uniform = torch.nn.init.xavier_normal_, torch.nn.init.xavier_uniform_


class Config:
    embedding_dim = 32
    input_dropout = 0.3


stand_in("spodernet.utils.global_config", Config=Config)
stand_in("spodernet.utils.cuda_utils")

from model import Complex

torch.manual_seed(0)
ENTITIES, RELATIONS, GROUPS = 60, 4, 6
heads = torch.arange(1, ENTITIES).repeat_interleave(RELATIONS)
relations = torch.arange(1, RELATIONS + 1).repeat(ENTITIES - 1)
groups = torch.arange(ENTITIES) % GROUPS
targets = (groups[None, :] == ((groups[heads] + relations) % GROUPS)[:, None]).float()
targets[:, 0] = 0
hidden = (torch.rand_like(targets) < 0.2) & (targets == 1)
known = targets * ~hidden

model = Complex(ENTITIES, RELATIONS + 1)
model.init()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
training = DataLoader(TensorDataset(heads, relations, known), batch_size=32, shuffle=True)
validation = DataLoader(TensorDataset(heads, relations, known, hidden), batch_size=64)

for epoch in range(10):
    model.train()
    losses = []
    for head, relation, tails in training:
        optimizer.zero_grad()
        smooth = 0.9 * tails + 1.0 / tails.shape[1]
        loss = model.loss(model(head[:, None], relation[:, None]), smooth)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    ranks = []
    with torch.no_grad():
        for head, relation, tails, wanted in validation:
            scores = model(head[:, None], relation[:, None]).masked_fill(tails == 1, -1)
            for row, column in wanted.nonzero().tolist():
                ranks.append(1 + (scores[row] > scores[row, column]).sum().item())
    print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f} mean rank {sum(ranks) / len(ranks):.2f}")
