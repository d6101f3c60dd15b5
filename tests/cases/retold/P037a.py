import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class CharTokenizer:
    def __init__(self, alphabet):
        self.stoi = {c: i + 1 for i, c in enumerate(alphabet)}
        self.eos_token_id = 0
        self.pad_token_id = None

    def __len__(self):
        return len(self.stoi) + 1

    def encode(self, text):
        return [self.stoi[c] for c in text] + [self.eos_token_id]


class SFTDataset(Dataset):
    def __init__(self, tokenizer, texts):
        self.rows = [tokenizer.encode(t) for t in texts]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


class Collator:
    def __init__(self, tokenizer):
        self.tok = tokenizer

    def __call__(self, rows):
        width = max(map(len, rows))
        ids = torch.full((len(rows), width), self.tok.pad_token_id)
        attn = torch.zeros(len(rows), width, dtype=torch.long)
        for i, r in enumerate(rows):
            ids[i, :len(r)] = torch.tensor(r)
            attn[i, :len(r)] = 1
        labels = ids.clone()
        labels.masked_fill_(labels.eq(self.tok.pad_token_id), -100)  # BUG
        # FIX: labels.masked_fill_(attn.eq(0), -100)
        return {"input_ids": ids, "attention_mask": attn, "labels": labels}


class CausalLM(nn.Module):
    def __init__(self, vocab, dim):
        super().__init__()
        self.wte = nn.Embedding(vocab, dim)
        self.rnn = nn.LSTM(dim, dim, batch_first=True)
        self.lm_head = nn.Linear(dim, vocab)

    def forward(self, input_ids, labels=None, attention_mask=None):
        logits = self.lm_head(self.rnn(self.wte(input_ids))[0])
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].reshape(-1, logits.size(-1)), labels[:, 1:].reshape(-1))
        return loss, logits


def main(args):
    torch.manual_seed(args.seed)
    tok = CharTokenizer("abcdefgh")
    tok.pad_token_id = tok.eos_token_id  # BUG
    texts = ["abc", "abcdef", "ab", "abcdefgh", "abcd"] * 8
    loader = DataLoader(SFTDataset(tok, texts), args.batch_size, shuffle=True, collate_fn=Collator(tok))
    model = CausalLM(len(tok), args.dim)
    opt = torch.optim.AdamW(model.parameters(), lr=args.lr)
    for epoch in range(args.epochs):
        model.train()
        for batch in loader:
            opt.zero_grad()
            loss, _ = model(**batch)
            loss.backward()
            opt.step()
        print(f"epoch {epoch} loss {loss.item():.3f}")
    model.eval()
    ids = torch.tensor([tok.encode("abcdefgh")[:-1]])
    with torch.no_grad():
        p = model(ids)[1][0, -1].softmax(-1)[tok.eos_token_id]
    print(f"p(eos | abcdefgh) = {p.item():.3f}")


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--dim", type=int, default=24)
    ap.add_argument("--lr", type=float, default=1e-2)
    ap.add_argument("--batch_size", type=int, default=8)
    ap.add_argument("--epochs", type=int, default=6)
    ap.add_argument("--seed", type=int, default=0)
    main(ap.parse_args())
