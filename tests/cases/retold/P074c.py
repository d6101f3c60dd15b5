"""Keyword spotting on log-mel patches; one function for both phases."""
import contextlib
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset, random_split


def build_model(n_mels=20, n_words=6):
    return nn.Sequential(
        nn.Conv1d(n_mels, 32, 5, padding=2), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3),
        nn.Conv1d(32, 32, 5, padding=2), nn.BatchNorm1d(32), nn.ReLU(),
        nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Dropout(0.3),
        nn.Linear(32, n_words),
    )


def run_epoch(model, loader, loss_fn, optimizer=None):
    training = optimizer is not None
    model.train()  # BUG
    # FIX: model.train(training)
    total_loss = hits = seen = 0
    with contextlib.nullcontext() if training else torch.inference_mode():
        for mel, word in loader:
            logits = model(mel)
            loss = loss_fn(logits, word)
            if training:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            total_loss += loss.item() * len(word)
            hits += (logits.argmax(1) == word).sum().item()
            seen += len(word)
    return total_loss / seen, hits / seen


def synth_speech(n=320, n_mels=20, frames=40, n_words=6):
    word = torch.randint(n_words, (n,))
    proto = torch.randn(n_words, n_mels, 1)
    mel = proto[word] + torch.randn(n, n_mels, frames)
    return TensorDataset(mel, word)


torch.manual_seed(21)
full = synth_speech()
train_set, valid_set = random_split(full, [256, 64], generator=torch.Generator().manual_seed(0))
train_loader = DataLoader(train_set, batch_size=32, shuffle=True, drop_last=True)
valid_loader = DataLoader(valid_set, batch_size=64)

model = build_model()
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4)
best = 0.0
for epoch in range(4):
    tr_loss, tr_acc = run_epoch(model, train_loader, loss_fn, optimizer)
    va_loss, va_acc = run_epoch(model, valid_loader, loss_fn)
    best = max(best, va_acc)
    print(f"epoch {epoch} train {tr_loss:.3f}/{tr_acc:.3f} valid {va_loss:.3f}/{va_acc:.3f} best {best:.3f}")
