"""Train the Conformer with the CTC loss, as the project's README shows, and validate it after each epoch.

fix: dcf497e6
depth: live 60
expects: TW363
where: program
"""

import torch
from conformer import Conformer
from torch import nn
from torch.utils.data import DataLoader

torch.manual_seed(0)
classes, dim = 10, 80


def utterances(count):
    for _ in range(count):
        words = torch.randint(1, classes, (int(torch.randint(4, 9, ())),))
        yield torch.randn(int(torch.randint(80, 140, ())), dim), words


def collate(batch):
    inputs, targets = zip(*batch)
    lengths = torch.IntTensor([len(one) for one in inputs])
    target_lengths = torch.LongTensor([len(one) for one in targets])
    pad = nn.utils.rnn.pad_sequence
    return pad(inputs, batch_first=True), lengths, pad(targets, batch_first=True), target_lengths


train = DataLoader(list(utterances(22)), batch_size=4, shuffle=True, collate_fn=collate)
dev = DataLoader(list(utterances(6)), batch_size=4, collate_fn=collate)
model = Conformer(num_classes=classes, input_dim=dim, encoder_dim=32, num_encoder_layers=2)
criterion = nn.CTCLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for _ in range(2):
    model.train()
    for inputs, input_lengths, targets, target_lengths in train:
        outputs, output_lengths = model(inputs, input_lengths)
        loss = criterion(outputs.transpose(0, 1), targets, output_lengths, target_lengths)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        print("train", loss.item())
    model.eval()
    with torch.no_grad():
        for inputs, input_lengths, targets, target_lengths in dev:
            outputs, output_lengths = model(inputs, input_lengths)
            print("dev", criterion(outputs.transpose(0, 1), targets, output_lengths, target_lengths).item())
