"""Train the Linformer to sort sequences of tokens, in the way of the project's example, and validate.

fix: 52642dfc
depth: live 60
expects: -
where: program
stands in: matplotlib, which the project imports for its pictures
"""

import torch
from stand_ins import stand_in
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

stand_in("matplotlib")
stand_in("matplotlib.colors")
stand_in("matplotlib.pyplot")

from linformer_pytorch import LinformerLM

torch.manual_seed(0)
TOKENS, LENGTH = 12, 32


def make_sequences(count):
    tokens = torch.randint(TOKENS, (count, LENGTH))
    return TensorDataset(tokens, tokens.sort(dim=1).values)


model = LinformerLM(TOKENS, LENGTH, channels=32, dim_k=16, dim_ff=64, nhead=4, depth=2, dropout=0.0, dropout_ff=0.0)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
criterion = nn.CrossEntropyLoss()
training = DataLoader(make_sequences(512), batch_size=32, shuffle=True)
validation = DataLoader(make_sequences(128), batch_size=64)

for epoch in range(8):
    model.train()
    for tokens, wanted in training:
        optimizer.zero_grad()
        loss = criterion(model(tokens).flatten(0, 1), wanted.flatten())
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = sum((model(tokens).argmax(-1) == wanted).sum().item() for tokens, wanted in validation)
    print(f"epoch {epoch}: loss {loss.item():.3f} accuracy {right / (len(validation.dataset) * LENGTH):.3f}")
