"""Train the pointer generator on random articles, as the project's train.py does for a batch.

fix: 5e511697
depth: rehearse
expects: TW122
where: training_ptr_gen/model.py
"""

import torch
from data_util import config
from torch.utils.data import DataLoader, TensorDataset

config.hidden_dim, config.emb_dim, config.vocab_size = 32, 16, 100
from training_ptr_gen.model import Model

device = "cuda" if torch.cuda.is_available() else "cpu"
model = Model()
parts = [model.encoder, model.decoder, model.reduce_state]
parameters = [p for part in parts for p in part.to(device).parameters()]
optimizer = torch.optim.Adagrad(parameters, lr=config.lr, initial_accumulator_value=config.adagrad_init_acc)
batch, length, summary = 6, 20, 5
lengths = [20, 18, 15, 12, 9, 7]
inside = (torch.arange(length)[None] < torch.tensor(lengths)[:, None]).float().repeat(4, 1)
data = TensorDataset(
    torch.randint(1, config.vocab_size, (4 * batch, length)), inside,
    torch.randint(1, config.vocab_size, (4 * batch, summary + 1)),
)  # fmt: skip
for articles, mask, targets in DataLoader(data, batch_size=batch):
    articles, mask, targets = articles.to(device), mask.to(device), targets.to(device)
    context = torch.zeros(batch, 2 * config.hidden_dim, device=device)
    optimizer.zero_grad()
    outputs, hidden, _ = model.encoder(articles, lengths)
    state = model.reduce_state(hidden)
    losses = []
    for at in range(summary):
        probabilities, state, context, *_ = model.decoder(
            targets[:, at], state, outputs, mask, context, None, articles, None, at
        )
        gold = torch.gather(probabilities, 1, targets[:, at + 1].unsqueeze(1)).squeeze(1)
        losses.append(-torch.log(gold + config.eps))
    loss = torch.stack(losses, 1).sum(1).mean()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
    optimizer.step()
