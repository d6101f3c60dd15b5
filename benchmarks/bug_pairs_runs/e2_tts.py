"""Probe a tagger of frames around the project's transformer: padded frames must not matter.

fix: 58288b2c
depth: probe
expects: TW269
where: program, e2_tts_pytorch/e2_tts.py
needs: einops, einx, x_transformers, torch_einops_utils, scipy, loguru, frozendict
stands in: torchaudio, torchdiffeq, jaxtyping's annotations
"""

import torch
from stand_ins import HERE, package, stand_in
from torch import nn

import trainworthy as tw


class Annotation:
    def __class_getitem__(cls, shape):
        return torch.Tensor


stand_in("torchaudio", transforms=stand_in("torchaudio.transforms"), functional=stand_in("torchaudio.functional"))
stand_in("torchdiffeq")
stand_in("jaxtyping", Float=Annotation, Int=Annotation, Bool=Annotation)
package("e2_tts_pytorch", HERE / "e2_tts_pytorch")
from e2_tts_pytorch.e2_tts import Transformer


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.transformer = Transformer(dim=64, depth=2)
        self.head = nn.Linear(64, 5)

    def forward(self, frames, mask):
        return self.head(self.transformer(frames, mask=mask))


model = Tagger()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)


def step(frames, lengths, tags):
    mask = torch.arange(frames.shape[1])[None] < lengths[:, None]
    losses = nn.functional.cross_entropy(model(frames, mask=mask).transpose(1, 2), tags, reduction="none")
    loss = losses[mask].mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


lengths, tags = torch.tensor([20, 13, 9, 17]), torch.randint(5, (4, 20))
frames = nn.utils.rnn.pad_sequence([torch.randn(length, 64) for length in lengths], batch_first=True)
result = tw.probe(step, frames, lengths, tags)
