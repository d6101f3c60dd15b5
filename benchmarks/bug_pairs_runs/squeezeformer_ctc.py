"""Train the Squeezeformer with the CTC loss and validate it after each epoch.

fix: b4f2a019
depth: live 60
expects: TW363
where: program
"""

import torch
from speeq.models.ctc import Squeezeformer
from torch import nn
from torch.utils.data import DataLoader

torch.manual_seed(0)
classes, features = 12, 40


def utterances(count):
    for _ in range(count):
        words = torch.randint(1, classes, (int(torch.randint(3, 7, ())),))
        yield torch.randn(int(torch.randint(70, 120, ())), features), words


def collate(batch):
    speech, text = zip(*batch)
    pad = nn.utils.rnn.pad_sequence
    speech_lengths = torch.tensor([len(one) for one in speech])
    speech = pad(speech, batch_first=True)
    mask = torch.arange(speech.shape[1])[None, :] < speech_lengths[:, None]
    return speech, mask, pad(text, batch_first=True), torch.tensor([len(one) for one in text])


def loss_of(batch):
    speech, mask, text, text_lengths = batch
    predictions, lengths = model(speech, mask)
    return criterion(predictions, text, lengths, text_lengths)


train = DataLoader(list(utterances(26)), batch_size=4, shuffle=True, collate_fn=collate)
dev = DataLoader(list(utterances(6)), batch_size=4, collate_fn=collate)
model = Squeezeformer(
    n_classes=classes, in_features=features, n=2, d_model=32, ff_expansion_factor=2, h=4, kernel_size=7,
    pooling_kernel_size=3, pooling_stride=2, ss_kernel_size=3, ss_stride=2, ss_n_conv_layers=2, p_dropout=0.1,
)  # fmt: skip
criterion = nn.CTCLoss(zero_infinity=True)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for _ in range(2):
    model.train()
    for batch in train:
        loss = loss_of(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print("train", loss.item())
    model.eval()
    with torch.no_grad():
        for batch in dev:
            print("dev", loss_of(batch).item())
