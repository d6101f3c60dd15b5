"""Train an encoder with flash attention to recover hidden tokens of padded sentences, and validate after each epoch.

fix: d731d82b
depth: live 60
expects: TW221
where: program
needs: einops
"""

import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader
from x_transformers import Encoder, TransformerWrapper


def make_sentences(count):
    sentences = []
    for _ in range(count):
        start, step, length = (int(torch.randint(*bounds, (1,))) for bounds in ((2, 30), (1, 4), (6, 17)))
        sentences.append((start + step * torch.arange(length)) % 28 + 2)
    return sentences


def collate(sentences):
    lengths = torch.tensor([len(sentence) for sentence in sentences])
    return pad_sequence(sentences, batch_first=True), torch.arange(int(lengths.max())) < lengths[:, None]


def recover(model, tokens, mask):
    hidden = (torch.rand(tokens.shape) < 0.2) & mask
    hidden[:, 2] = True
    logits = model(tokens.masked_fill(hidden, 1), mask=mask)
    return F.cross_entropy(logits[hidden], tokens[hidden])


torch.manual_seed(0)
model = TransformerWrapper(
    num_tokens=30, max_seq_len=16, emb_dropout=0.1,
    attn_layers=Encoder(dim=32, depth=2, heads=4, attn_dim_head=8, attn_flash=True, attn_dropout=0.1),
)  # fmt: skip
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
training = DataLoader(make_sentences(240), batch_size=16, shuffle=True, collate_fn=collate)
validation = DataLoader(make_sentences(48), batch_size=16, collate_fn=collate)
for epoch in range(4):
    model.train()
    for tokens, mask in training:
        loss = recover(model, tokens, mask)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.eval()
    with torch.no_grad():
        losses = [recover(model, tokens, mask).item() for tokens, mask in validation]
    print(f"epoch {epoch}: training {loss.item():.3f} validation {sum(losses) / len(losses):.3f}")
