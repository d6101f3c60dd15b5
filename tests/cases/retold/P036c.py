"""Grapheme-to-phoneme model, functional loss helpers."""
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence, pack_padded_sequence, pad_packed_sequence

BLANK = 0
N_GRAPH, N_PHON = 27, 40


def synth_words(count, gen):
    table = torch.randint(1, N_PHON, (N_GRAPH,), generator=gen)
    words = []
    for _ in range(count):
        length = int(torch.randint(2, 15, (1,), generator=gen))
        spelling = torch.randint(1, N_GRAPH, (length,), generator=gen)
        words.append((spelling, table[spelling]))
    return words


def batchify(words):
    lengths = torch.tensor([len(s) for s, _ in words])
    spell = pad_sequence([s for s, _ in words], batch_first=True, padding_value=BLANK)
    phon = pad_sequence([p for _, p in words], batch_first=True, padding_value=BLANK)
    return spell, phon, lengths


class G2P(nn.Module):
    def __init__(self, dim=48):
        super().__init__()
        self.emb = nn.Embedding(N_GRAPH, dim, padding_idx=BLANK)
        self.lstm = nn.LSTM(dim, dim, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * dim, N_PHON)

    def forward(self, spell, lengths):
        packed = pack_padded_sequence(self.emb(spell), lengths, batch_first=True, enforce_sorted=False)
        h, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        return self.out(h).log_softmax(dim=-1)


def sequence_nll(logp, gold):
    token_nll = -logp.gather(-1, gold.unsqueeze(-1)).squeeze(-1)
    return token_nll.mean()  # BUG
    # FIX: keep = gold.ne(BLANK)
    # FIX: return token_nll[keep].mean()


def phoneme_accuracy(logp, gold):
    keep = gold.ne(BLANK)
    return (logp.argmax(-1).eq(gold) & keep).sum().item() / keep.sum().item()


def run(steps=25):
    torch.manual_seed(2)
    gen = torch.Generator().manual_seed(2)
    words = synth_words(256, gen)
    train_words, dev_words = words[:224], words[224:]
    model = G2P()
    opt = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(steps):
        model.train()
        picks = torch.randint(len(train_words), (32,), generator=gen).tolist()
        spell, phon, lengths = batchify([train_words[i] for i in picks])
        opt.zero_grad()
        loss = sequence_nll(model(spell, lengths), phon)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        opt.step()
        if step % 8 == 0:
            print(f"step {step} nll {loss.item():.3f}")
    model.eval()
    with torch.no_grad():
        spell, phon, lengths = batchify(dev_words)
        print("dev phoneme accuracy", round(phoneme_accuracy(model(spell, lengths), phon), 3))


if __name__ == "__main__":
    run()
