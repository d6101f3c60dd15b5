"""Train the process reward model on sequences with a label each, as its file shows.

fix: 41a1a221
depth: live 6
expects: TW252
where: palm_rlhf_pytorch/implicit_process_reward.py
needs: einops, einx, beartype
"""

import torch
from stand_ins import HERE, package

package("palm_rlhf_pytorch", HERE / "palm_rlhf_pytorch")
from palm_rlhf_pytorch.implicit_process_reward import ImplicitPRM
from palm_rlhf_pytorch.palm import PaLM

model = ImplicitPRM(PaLM(num_tokens=64, dim=32, depth=2, heads=2, dim_head=16))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for _ in range(6):
    sequences, labels = torch.randint(64, (4, 32)), torch.randint(0, 2, (4,))
    loss = model(sequences, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
