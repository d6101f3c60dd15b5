"""Fine-tuning BERT with Hugging Face transformers: Trainer, evaluation, checkpoints."""

import argparse

import torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments


class Reviews(Dataset):
    """Token ids as a tokenizer would give them."""

    def __init__(self, size, length, vocabulary):
        generator = torch.Generator().manual_seed(size)
        self.ids = torch.randint(5, vocabulary, (size, length), generator=generator)
        self.lengths = torch.randint(length // 4, length + 1, (size,), generator=generator)
        self.labels = torch.randint(0, 2, (size,), generator=generator)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        mask = (torch.arange(self.ids.shape[1]) < self.lengths[i]).long()
        return {"input_ids": self.ids[i] * mask, "attention_mask": mask, "labels": self.labels[i]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--fp32", action="store_true")
    parser.add_argument("--output", default="bert-reviews")
    args = parser.parse_args()
    config = BertConfig(
        num_hidden_layers=args.layers, hidden_size=args.hidden, intermediate_size=4 * args.hidden,
        num_attention_heads=max(1, args.hidden // 64), num_labels=2,
    )  # fmt: skip
    model = BertForSequenceClassification(config)
    training = TrainingArguments(
        output_dir=args.output, per_device_train_batch_size=args.batch_size, per_device_eval_batch_size=args.batch_size,
        num_train_epochs=1, learning_rate=2e-5, warmup_steps=10, weight_decay=0.01, max_grad_norm=1.0,
        bf16=not args.fp32 and torch.cuda.is_available(), logging_steps=10, eval_strategy="epoch",
        save_strategy="epoch", report_to=[],
    )  # fmt: skip
    trainer = Trainer(
        model=model,
        args=training,
        train_dataset=Reviews(args.samples, args.length, config.vocab_size),
        eval_dataset=Reviews(args.samples // 4, args.length, config.vocab_size),
        compute_metrics=lambda p: {"accuracy": float((p.predictions.argmax(-1) == p.label_ids).mean())},
    )
    trainer.train()
    print(trainer.evaluate())


if __name__ == "__main__":
    main()
