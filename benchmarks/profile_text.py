"""Language models: BERT, GPT-2's and OPT's shapes, one layer of each, Transformer-XL and GNMT."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def bert(layers: int, hidden: int, heads: int, *, task: str) -> Any:
    """Build BERT as transformers has it, with attention as separate kernels (before torch 2.0)."""
    from transformers import BertConfig, BertForPreTraining, BertForQuestionAnswering

    config = BertConfig(
        num_hidden_layers=layers, hidden_size=hidden, num_attention_heads=heads, intermediate_size=4 * hidden,
        vocab_size=30528, attn_implementation="eager", max_position_embeddings=2048,
    )  # fmt: skip
    return BertForQuestionAnswering(config) if task == "squad" else BertForPreTraining(config)


def tokens(b: int, s: int) -> tuple[Tensor, ...]:
    """Make token numbers and a mask."""
    return torch.zeros(b, s, dtype=torch.long, device="cuda"), torch.ones(b, s, dtype=torch.long, device="cuda")


def squad_loss(module: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """Question answering: where the answer starts and ends."""
    out = module(ids, attention_mask=mask)
    target = torch.zeros(ids.shape[0], dtype=torch.long, device="cuda")
    loss: Tensor = (F.cross_entropy(out.start_logits, target) + F.cross_entropy(out.end_logits, target)) / 2
    return loss


MASKED_WORDS = 20  # of 128 tokens, as max_predictions_per_seq has it; only they pass through the vocabulary


def pretraining_loss(module: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """Masked words, of which only the masked ones are scored, and next sentence."""
    out = module.bert(ids, attention_mask=mask)
    words, related = module.cls(out[0][:, :MASKED_WORDS].contiguous(), out[1])
    loss = F.cross_entropy(words.view(-1, words.shape[-1]), ids[:, :MASKED_WORDS].reshape(-1))
    target = torch.zeros(ids.shape[0], dtype=torch.long, device="cuda")
    return loss + F.cross_entropy(related.view(-1, 2), target)


def bare_loss(module: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """All words through the vocabulary, as a plain call of the model does."""
    out = module(ids, attention_mask=mask)
    return F.cross_entropy(out.prediction_logits.view(-1, out.prediction_logits.shape[-1]), ids.view(-1))


def gpt2(layers: int, hidden: int, heads: int, vocabulary: int = 50257) -> Any:
    """Build GPT-2 of a shape, attention as separate kernels."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(n_layer=layers, n_embd=hidden, n_head=heads, vocab_size=vocabulary, n_positions=2048,
                        attn_implementation="eager", use_cache=False)  # fmt: skip
    return GPT2LMHeadModel(config)


def opt(layers: int, hidden: int, heads: int) -> Any:
    """Build OPT of a shape."""
    from transformers import OPTConfig, OPTForCausalLM

    config = OPTConfig(
        num_hidden_layers=layers, hidden_size=hidden, num_attention_heads=heads, ffn_dim=4 * hidden, vocab_size=50272,
        word_embed_proj_dim=hidden, attn_implementation="eager", use_cache=False,
    )  # fmt: skip
    return OPTForCausalLM(config)


def next_token_loss(module: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """Cross entropy of the next token, in float32 as transformers computes it."""
    logits = module(ids).logits
    return F.cross_entropy(logits[:, :-1].float().reshape(-1, logits.shape[-1]), ids[:, 1:].reshape(-1))


# --- layers of mli/transformers-benchmarks ------------------------------------------------------------------------


class Layer(nn.Module):
    """One layer of a model of transformers on hidden states."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        from transformers import BertConfig, GPT2Config
        from transformers.models.bert.modeling_bert import BertLayer
        from transformers.models.gpt2.modeling_gpt2 import GPT2Block

        if kind == "bert":
            self.layer = BertLayer(BertConfig(hidden_size=1024, num_attention_heads=16, intermediate_size=4096,
                                              attn_implementation="eager"))  # fmt: skip
        else:
            self.layer = GPT2Block(GPT2Config(n_embd=1024, n_head=16, attn_implementation="eager"), layer_idx=0)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, sequence, width) to the same."""
        out = self.layer(x)
        result: Tensor = out[0] if isinstance(out, tuple) else out
        return result


def hidden_states(width: int) -> Any:
    """Make hidden states."""
    return lambda b, s: (torch.zeros(b, s, width, device="cuda"),)


# --- Transformer-XL (NVIDIA's DeepLearningExamples) ---------------------------------------------------------------


class RelativeAttention(nn.Module):
    """Attention to the segment and the memory before it, with relative positions (Dai et al., 2019)."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads, self.inner = heads, inner
        self.qkv = nn.Linear(width, 3 * heads * inner, bias=False)
        self.r = nn.Linear(width, heads * inner, bias=False)
        self.out = nn.Linear(heads * inner, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.u = nn.Parameter(torch.zeros(heads, inner))
        self.v = nn.Parameter(torch.zeros(heads, inner))

    def forward(self, x: Tensor, memory: Tensor, positions: Tensor) -> Tensor:
        """Map (length, batch, width) to the same."""
        length, b, _ = x.shape
        both = torch.cat([memory, x])
        q, k, v = self.qkv(both).chunk(3, dim=-1)
        q = q[-length:].view(length, b, self.heads, self.inner)
        k, v = (t.view(both.shape[0], b, self.heads, self.inner) for t in (k, v))
        r = self.r(positions).view(-1, self.heads, self.inner)
        ac = torch.einsum("ibnd,jbnd->bnij", q + self.u, k)
        bd = torch.einsum("ibnd,jnd->bnij", q + self.v, r)
        padded = F.pad(bd, (1, 0)).view(b, self.heads, both.shape[0] + 1, length)[:, :, 1:].reshape(bd.shape)
        score = ((ac + padded) * self.inner**-0.5).masked_fill(
            torch.ones(length, both.shape[0], device=x.device).triu(1 + memory.shape[0]).bool(), -65000.0
        )
        weight = F.dropout(torch.softmax(score, dim=-1), 0.0, self.training)
        mixed = torch.einsum("bnij,jbnd->ibnd", weight, v).reshape(length, b, -1)
        result: Tensor = self.norm(x + F.dropout(self.out(mixed), 0.1, self.training))
        return result


class TransformerXl(nn.Module):
    """Transformer-XL with an adaptive softmax over WikiText-103."""

    def __init__(self, *, layers: int, width: int, heads: int, inner: int, feed: int, memory: int) -> None:
        super().__init__()
        self.memory, self.width = memory, width
        self.embedding = nn.Embedding(267736, width)
        self.attention = nn.ModuleList(RelativeAttention(width, heads, inner) for _ in range(layers))
        self.feed = nn.ModuleList(
            nn.Sequential(nn.Linear(width, feed), nn.ReLU(), nn.Dropout(0.1), nn.Linear(feed, width), nn.Dropout(0.1))
            for _ in range(layers)
        )
        self.norm = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.head = nn.Linear(width, 20000 + 3)
        self.tails = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width // 4**i, bias=False), nn.Linear(width // 4**i, n))
            for i, n in ((1, 20000), (2, 160000))
        )

    def forward(self, ids: Tensor) -> Tensor:
        """Return the loss of (length, batch) tokens. About a tenth of the words lies in each tail."""
        x = self.embedding(ids)
        positions = torch.zeros(ids.shape[0] + self.memory, self.width, device=x.device)
        for attention, feed, norm in zip(self.attention, self.feed, self.norm, strict=True):
            memory = torch.zeros(self.memory, *x.shape[1:], device=x.device, dtype=x.dtype)
            x = attention(x, memory, positions)
            x = norm(x + feed(x))
        flat = x.view(-1, self.width)
        loss = F.cross_entropy(self.head(flat), ids.view(-1))
        for tail in self.tails:
            few = flat[: flat.shape[0] // 10]
            loss = loss + F.cross_entropy(tail(few), ids.view(-1)[: few.shape[0]])
        return loss


# --- recurrent translation (GNMT) ---------------------------------------------------------------------------------


class Gnmt(nn.Module):
    """GNMT v2 of DeepLearningExamples: four layers of LSTMs of 1024 on each side, additive attention, 32,320 words."""

    def __init__(self, width: int = 1024, words: int = 32320) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.first = nn.LSTM(width, width, bidirectional=True)
        self.encoder = nn.ModuleList(nn.LSTM(2 * width if i == 0 else width, width) for i in range(3))
        self.attend = nn.LSTM(width, width)
        self.query, self.key = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.score = nn.Parameter(torch.zeros(width))
        self.decoder = nn.ModuleList(nn.LSTM(2 * width, width) for _ in range(3))
        self.head = nn.Linear(width, words)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Return the loss of (length, batch) source and target."""
        x, _ = self.first(F.dropout(self.embedding(source), 0.2))
        for i, layer in enumerate(self.encoder):
            out, _ = layer(F.dropout(x, 0.2))
            x = out if i == 0 else out + x
        y, _ = self.attend(F.dropout(self.embedding(target), 0.2))
        query, keys = self.query(y.transpose(0, 1)), self.key(x.transpose(0, 1))
        energy = torch.tanh(query.unsqueeze(2) + keys.unsqueeze(1)) @ self.score
        context = torch.bmm(torch.softmax(energy, dim=-1), x.transpose(0, 1)).transpose(0, 1)
        for i, layer in enumerate(self.decoder):
            out, _ = layer(F.dropout(torch.cat([y, context], dim=-1), 0.2))
            y = out if i == 0 else out + y
        logits = self.head(y)
        chances = F.log_softmax(logits.view(-1, logits.shape[-1]), dim=-1, dtype=torch.float32)
        picked = chances.gather(1, target.reshape(-1, 1)).squeeze(1)
        return -(0.9 * picked + 0.1 * chances.mean(dim=-1)).sum()  # labels smoothed by a tenth


def sentences(length: int) -> Any:
    """Make source and target of a length, (length, batch)."""
    return lambda b, s: tuple(torch.zeros(length, b, dtype=torch.long, device="cuda") for _ in range(2))


def own_loss(module: Any, *inputs: Tensor) -> Tensor:
    """For models that return their loss."""
    loss: Tensor = module(*inputs)
    return loss
