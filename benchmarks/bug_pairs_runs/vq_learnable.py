"""Train a quantiser whose codebook is learnt by gradients.

fix: f6ab8df7
depth: live 8
expects: TW363
where: program, vector_quantize_pytorch/vector_quantize_pytorch.py
needs: einops
"""

import torch
from torch import nn
from vector_quantize_pytorch import VectorQuantize

encoder, decoder = nn.Linear(16, 8), nn.Linear(8, 16)
quantizer = VectorQuantize(
    dim=8, codebook_size=32, learnable_codebook=True, ema_update=False, commitment_use_cross_entropy_loss=True
)
optimizer = torch.optim.Adam([*encoder.parameters(), *quantizer.parameters(), *decoder.parameters()], lr=1e-3)
for _ in range(8):
    x = torch.randn(4, 10, 16)
    quantized, indices, commitment = quantizer(encoder(x))
    loss = nn.functional.mse_loss(decoder(quantized), x) + commitment.sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
