"""Word-level language model over a continuous stream (truncated BPTT)."""
import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F


class Corpus:
    def __init__(self, length, vocab, seed):
        g = torch.Generator().manual_seed(seed)
        noise = torch.randint(0, vocab, (length,), generator=g)
        base = torch.arange(length) * 7 % vocab
        self.ids = torch.where(torch.rand(length, generator=g) < 0.1, noise, base)

    def batchify(self, bsz):
        n = len(self.ids) // bsz
        return self.ids[:n * bsz].view(bsz, n).t().contiguous()


class RNNModel(nn.Module):
    def __init__(self, vocab, dim):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim)
        self.lstm = nn.LSTM(dim, dim)
        self.decoder = nn.Linear(dim, vocab)
        self.decoder.weight = self.embed.weight
        self.state = None

    def reset(self):
        self.state = None

    def forward(self, x):
        out, self.state = self.lstm(self.embed(x), self.state)  # BUG
        # FIX: out, state = self.lstm(self.embed(x), self.state)
        # FIX: self.state = tuple(s.detach() for s in state)
        return self.decoder(out)


class LMTrainer:
    def __init__(self, args):
        self.args = args
        self.data = Corpus(args.length, args.vocab, seed=1).batchify(args.batch_size)
        self.model = RNNModel(args.vocab, args.dim)
        self.opt = torch.optim.Adam(self.model.parameters(), lr=args.lr)

    def chunks(self):
        for i in range(0, self.data.size(0) - 1, self.args.bptt):
            n = min(self.args.bptt, self.data.size(0) - 1 - i)
            yield self.data[i:i + n], self.data[i + 1:i + 1 + n]

    def epoch(self):
        self.model.train()
        self.model.reset()
        self.opt.zero_grad()
        chunks = list(self.chunks())
        log, ntok = 0.0, 0
        for x, y in chunks:
            loss = F.cross_entropy(self.model(x).flatten(0, 1), y.flatten())
            (loss / len(chunks)).backward(retain_graph=True)  # BUG
            # FIX: (loss / len(chunks)).backward()
            log += loss.item() * y.numel()
            ntok += y.numel()
        nn.utils.clip_grad_norm_(self.model.parameters(), 0.5)
        self.opt.step()
        return log / ntok


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--length", type=int, default=1200)
    p.add_argument("--vocab", type=int, default=30)
    p.add_argument("--batch-size", type=int, default=6)
    p.add_argument("--bptt", type=int, default=20)
    p.add_argument("--dim", type=int, default=32)
    p.add_argument("--lr", type=float, default=1e-2)
    p.add_argument("--epochs", type=int, default=5)
    args = p.parse_args()
    torch.manual_seed(0)
    trainer = LMTrainer(args)
    for e in range(args.epochs):
        print(f"epoch {e}: loss {trainer.epoch():.4f}")
