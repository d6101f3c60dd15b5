"""Visual question answering on coloured squares."""
import torch
import torch.nn as nn
import torch.nn.functional as F

QUESTIONS = ["is it red", "is it green", "is it blue", "is the square big"]


class VqaProcessor:
    def __init__(self, corpus, mean=0.5, std=0.25, max_length=6):
        words = sorted({w for q in corpus for w in q.split()})
        self.vocab = {w: i + 1 for i, w in enumerate(words)}
        self.mean, self.std, self.max_length = mean, std, max_length

    def _encode(self, question):
        ids = [self.vocab[w] for w in question.split()][: self.max_length]
        return ids + [0] * (self.max_length - len(ids))

    def __call__(self, images, text):
        if torch.is_tensor(images):
            images = images[None] if images.dim() == 3 else images
        else:
            images = torch.stack(images)
        if not isinstance(text, str):  # BUG
        # FIX: if isinstance(text, str):
            text = text[0]  # BUG
            # FIX: text = [text]
        input_ids = torch.tensor([self._encode(text)])  # BUG
        # FIX: input_ids = torch.tensor([self._encode(t) for t in text])
        return {"pixel_values": (images - self.mean) / self.std, "input_ids": input_ids}


class VqaModel(nn.Module):
    def __init__(self, vocab_size, dim=32):
        super().__init__()
        self.vision = nn.Sequential(
            nn.Conv2d(3, dim, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.words = nn.Embedding(vocab_size, dim, padding_idx=0)
        self.text = nn.Linear(dim, dim)
        self.answer = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, 2))

    def forward(self, pixel_values, input_ids):
        mask = input_ids.ne(0).unsqueeze(-1)
        pooled = (self.words(input_ids) * mask).sum(1) / mask.sum(1).clamp(min=1)
        return self.answer(self.vision(pixel_values) * self.text(pooled))


def sample(n, g):
    colour = torch.randint(3, (n,), generator=g)
    big = torch.randint(2, (n,), generator=g)
    asked = torch.randint(4, (n,), generator=g)
    images = 0.1 * torch.rand(n, 3, 12, 12, generator=g)
    for i in range(n):
        side = 10 if big[i] else 5
        images[i, colour[i], 1 : 1 + side, 1 : 1 + side] += 0.8
    answers = torch.where(asked == 3, big, (asked == colour).long())
    return list(images), [QUESTIONS[k] for k in asked.tolist()], answers


class VqaTrainer:
    def __init__(self, model, processor, lr=5e-3):
        self.model, self.processor = model, processor
        self.opt = torch.optim.AdamW(model.parameters(), lr=lr)

    def fit(self, steps, batch_size, g):
        self.model.train()
        for step in range(steps):
            images, questions, answers = sample(batch_size, g)
            loss = F.cross_entropy(self.model(**self.processor(images, text=questions)), answers)
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
            if step % 30 == 0:
                print(f"step {step} loss {loss.item():.3f}")

    @torch.no_grad()
    def ask(self, image, question):
        self.model.eval()
        return ["no", "yes"][self.model(**self.processor(image, text=question)).argmax(-1).item()]


if __name__ == "__main__":
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)
    processor = VqaProcessor(QUESTIONS)
    trainer = VqaTrainer(VqaModel(len(processor.vocab) + 1), processor)
    trainer.fit(150, batch_size=50, g=g)
    images, questions, answers = sample(8, g)
    for image, question, answer in zip(images, questions, answers.tolist()):
        print(question, "->", trainer.ask(image, question), "/", ["no", "yes"][answer])
