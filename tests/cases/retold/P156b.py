# speech commands, notebook export
import torch
import torch.nn as nn
import torch.utils.data as data

torch.manual_seed(1)
device = "cuda" if torch.cuda.is_available() else "cpu"


class Spectrograms(data.Dataset):
    """Computes a log spectrogram of a long waveform for each item."""

    def __init__(self, waves, labels):
        self.waves, self.labels = waves, labels
        self.window = torch.hann_window(512)

    def __len__(self):
        return len(self.waves)

    def __getitem__(self, i):
        spec = torch.stft(self.waves[i], 512, hop_length=128, window=self.window, return_complex=True)
        return spec.abs().add(1e-5).log(), self.labels[i]


waves = torch.randn(64, 16000)
labels = torch.randint(0, 8, (64,))
train_set, val_set = data.random_split(Spectrograms(waves, labels), [48, 16])

loader_args = dict(batch_size=16)  # BUG
# FIX: loader_args = dict(batch_size=16, num_workers=2, pin_memory=(device == "cuda"),
# FIX:                    persistent_workers=True)
train_dl = data.DataLoader(train_set, shuffle=True, **loader_args)
val_dl = data.DataLoader(val_set, **loader_args)

model = nn.Sequential(nn.Conv1d(257, 64, 5, padding=2), nn.ReLU(), nn.AdaptiveAvgPool1d(1),
                      nn.Flatten(), nn.Linear(64, 8)).to(device)
opt = torch.optim.Adam(model.parameters(), 1e-3)

for epoch in range(2):
    model.train()
    for spec, y in train_dl:
        spec, y = spec.to(device, non_blocking=True), y.to(device, non_blocking=True)
        opt.zero_grad()
        nn.functional.cross_entropy(model(spec), y).backward()
        opt.step()

    model.eval()
    hits = torch.zeros((), device=device)
    with torch.no_grad():
        for spec, y in val_dl:
            spec, y = spec.to(device, non_blocking=True), y.to(device, non_blocking=True)
            hits += (model(spec).argmax(1) == y).sum()
    print(epoch, "val acc", hits.item() / len(val_set))
