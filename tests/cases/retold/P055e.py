"""Continue training of a tagger on a new domain with extra vocabulary."""
import torch
import torch.nn as nn
import torch.nn.functional as F


class Tagger(nn.Module):
    def __init__(self, vocab_size, n_tags, dim=32):
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab_size, dim)
        self.encoder = nn.GRU(dim, dim, batch_first=True, bidirectional=True)
        self.classifier = nn.Linear(2 * dim, n_tags)

    def grow_vocab(self, new_size):
        old = self.word_embeddings
        bigger = nn.Embedding(new_size, old.embedding_dim)
        with torch.no_grad():
            bigger.weight[: old.num_embeddings].copy_(old.weight)
        self.word_embeddings = bigger
        return self

    def forward(self, words):
        hidden, _ = self.encoder(self.word_embeddings(words))
        return self.classifier(hidden)


def make_optimizer(model, lr, weight_decay):
    decay = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    return torch.optim.AdamW(
        [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}], lr=lr
    )


def sentences(n, vocab, n_tags, g):
    words = torch.randint(vocab, (n, 10), generator=g)
    return words, words % n_tags


def run_epoch(model, optimizer, words, tags, g, batch=32):
    model.train()
    for idx in torch.randperm(len(words), generator=g).split(batch):
        optimizer.zero_grad()
        logits = model(words[idx])
        loss = F.cross_entropy(logits.transpose(1, 2), tags[idx])
        loss.backward()
        optimizer.step()
    return loss.item()


@torch.no_grad()
def accuracy(model, words, tags):
    model.eval()
    return model(words).argmax(-1).eq(tags).float().mean().item()


def main():
    cfg = dict(base_vocab=50, domain_vocab=90, n_tags=4, lr=5e-3, weight_decay=0.01, epochs=5)
    torch.manual_seed(2)
    g = torch.Generator().manual_seed(2)
    model = Tagger(cfg["base_vocab"], cfg["n_tags"])
    optimizer = make_optimizer(model, cfg["lr"], cfg["weight_decay"])  # BUG
    # FIX:
    words, tags = sentences(256, cfg["domain_vocab"], cfg["n_tags"], g)
    val_words, val_tags = sentences(64, cfg["domain_vocab"], cfg["n_tags"], g)
    if int(words.max()) >= model.word_embeddings.num_embeddings:
        model.grow_vocab(cfg["domain_vocab"])  # BUG
    # FIX+: optimizer = make_optimizer(model, cfg["lr"], cfg["weight_decay"])
    for epoch in range(cfg["epochs"]):
        loss = run_epoch(model, optimizer, words, tags, g)
        print(f"epoch {epoch}: loss {loss:.3f} val acc {accuracy(model, val_words, val_tags):.3f}")


if __name__ == "__main__":
    main()
