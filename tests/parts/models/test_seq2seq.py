"""The encoder-decoder against nn.Transformer with the same weights; decoding against every possible sequence."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainworthy.parts.masks import Keep, causal_keep, hide, token_keep
from trainworthy.parts.models.seq2seq import Seq2Seq, Seq2SeqOutput, decode_greedily, decode_with_beam
from trainworthy.parts.models.transformer import NormPlace

PAD, BEGIN, END = 0, 1, 2


def small(norm: NormPlace = "after", *, vocabulary: int = 11) -> Seq2Seq:
    torch.manual_seed(0)
    model = Seq2Seq(vocabulary=vocabulary, pad=PAD, width=8, blocks=2, heads=2, hidden=12, dropout=0.0, norm=norm)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model.eval()


def torchs(model: Seq2Seq, *, before: bool) -> nn.Transformer:
    options: dict[str, Any] = {"dropout": 0.0, "batch_first": True, "norm_first": before}
    theirs = nn.Transformer(
        8, 2, 2, 2, 12, custom_encoder=nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 12, **options), 2, nn.LayerNorm(8) if before else None,
            enable_nested_tensor=False,
        ),
        custom_decoder=nn.TransformerDecoder(
            nn.TransformerDecoderLayer(8, 2, 12, **options), 2, nn.LayerNorm(8) if before else None
        ),
        batch_first=True,
    )  # fmt: skip
    mine, state = model.state_dict(), dict[str, Tensor]()
    for side in ("encoder", "decoder"):
        attentions = {"attention": "self_attn", "memory_attention": "multihead_attn"}
        plain = {"attention_norm": "norm1", "expand": "linear1", "contract": "linear2", "network_norm": "norm3"}
        plain |= {"memory_norm": "norm2"} if side == "decoder" else {"network_norm": "norm2"}
        for block, kind in itertools.product((0, 1), ("weight", "bias")):
            here, there = f"{side}.{block}.", f"{side}.layers.{block}."
            for name, other in list(attentions.items())[: 1 if side == "encoder" else 2]:
                state[f"{there}{other}.in_proj_{kind}"] = torch.cat(
                    [mine[f"{here}{name}.{which}.{kind}"] for which in ("query", "key", "value")]
                )
                state[f"{there}{other}.out_proj.{kind}"] = mine[f"{here}{name}.out.{kind}"]
            state |= {f"{there}{other}.{kind}": mine[f"{here}{name}.{kind}"] for name, other in plain.items()}
            if before:
                state[f"{side}.norm.{kind}"] = mine[f"{side}_norm.{kind}"]
    theirs.load_state_dict(state)
    return theirs.eval()


@pytest.mark.parametrize("norm", ["after", "before"])
def test_logits_are_those_of_torch(norm: NormPlace) -> None:
    model = small(norm)
    theirs = torchs(model, before=norm == "before")
    source, target = torch.tensor([[5, 6, 7, 2], [8, 2, 0, 0]]), torch.tensor([[1, 3, 4], [1, 9, 0]])
    hidden_source = hide(token_keep(source, pad=PAD))
    # The padded query of the target sees itself here and not in torch, so only the real ones are compared.
    values = theirs(
        model._embed(source), model._embed(target), src_key_padding_mask=hidden_source,
        memory_key_padding_mask=hidden_source, tgt_mask=hide(causal_keep(3)),
    )  # fmt: skip
    want, got = values @ model.embedding.weight.T, model(source, target).logits
    real = target != PAD
    torch.testing.assert_close(got[real], want[real], rtol=1e-4, atol=1e-5)


def test_what_was_read_is_seen() -> None:
    model, source = small(), torch.tensor([[5, 6, 0]])
    out = model(source, torch.tensor([[1, 3]]), weights=True)
    assert [tuple(read.shape) for read in out.memory_weights] == [(1, 2, 2, 3)] * 2
    assert all(read[..., 2].eq(0).all() for read in out.memory_weights)
    torch.testing.assert_close(out.logits, model(source, torch.tensor([[1, 3]])).logits)


def test_gradients_reach_every_parameter() -> None:
    model = small().train()
    model(torch.tensor([[5, 6]]), torch.tensor([[1, 3]])).logits.logsumexp(-1).sum().backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []


def every_sequence(model: Seq2Seq, source: Tensor, longest: int) -> dict[tuple[int, ...], float]:
    """Score every finished sequence of a vocabulary, one forward pass each."""
    words, found = [token for token in range(6) if token not in (PAD, BEGIN, END)], {}
    for size in range(longest):
        for tokens in itertools.product(words, repeat=size):
            target = torch.tensor([[BEGIN, *tokens]])
            logits = model(source, target).logits[0].double()
            logits[:, [PAD, BEGIN]] = float("-inf")
            steps = logits.log_softmax(-1)
            found[tokens] = sum(steps[i, t].item() for i, t in enumerate([*tokens, END]))
    return found


def test_a_wide_beam_finds_the_best_of_all_sequences() -> None:
    model, source = small(vocabulary=6), torch.tensor([[3, 4, 2]])
    scores = every_sequence(model, source, 4)
    found = [row for row in decode_with_beam(model, source, begin=BEGIN, end=END, longest=4, beams=200) if row.finished]
    best = sorted(scores, key=lambda tokens: -scores[tokens])
    assert [row.tokens for row in found] == best
    assert found[0].log_probability == pytest.approx(scores[best[0]])


def by_a_loop(model: Seq2Seq, source: Tensor, longest: int) -> tuple[list[int], float]:
    """Take the likeliest token at each step; return the tokens, with the end, and their log-probability."""
    grown, total = [BEGIN], 0.0
    while len(grown) <= longest and grown[-1] != END:
        logits = model(source[source != PAD][None], torch.tensor([grown])).logits[0, -1].double()
        logits[[PAD, BEGIN]] = float("-inf")
        total += logits.log_softmax(-1).max().item()
        grown.append(int(logits.argmax()))
    return grown[1:], total


@pytest.mark.parametrize("seed", range(12))
def test_greedy_takes_the_likeliest_at_each_step_and_is_a_beam_of_one(seed: int) -> None:
    model, source = small(), torch.tensor([[5, 6, 2, 0], [7, 8, 9, 2], [3, 2, 0, 0]])
    torch.manual_seed(seed)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    for row, decoded in enumerate(decode_greedily(model, source, begin=BEGIN, end=END, longest=6)):
        tokens, total = by_a_loop(model, source[row], 6)
        (beam,) = decode_with_beam(model, source[row : row + 1], begin=BEGIN, end=END, longest=6, beams=1)
        for found in (decoded, beam):
            assert [*found.tokens, *([END] if found.finished else [])] == tokens
            assert found.log_probability == pytest.approx(total, rel=1e-4)


def test_a_power_of_the_length_prefers_longer_sequences() -> None:
    model, source = small(vocabulary=6), torch.tensor([[3, 4, 2]])
    scores = every_sequence(model, source, 4)
    found = [
        row.tokens
        for row in decode_with_beam(model, source, begin=BEGIN, end=END, longest=4, beams=200, length_power=1.0)
        if row.finished
    ]
    assert found == sorted(scores, key=lambda tokens: -scores[tokens] / (len(tokens) + 1))


def test_greedy_takes_the_likeliest_token_also_where_the_end_is_second() -> None:
    class Fixed(Seq2Seq):
        """Says token 5, then 6, then the end; the end is always second."""

        def decode(self, target: Tensor, memory: Tensor, source_real: Keep, *, weights: bool = False) -> Seq2SeqOutput:
            logits = torch.zeros(*target.shape, 8)
            logits[..., END] = 2.0
            for place, token in enumerate((5, 6)[: target.shape[1]]):
                logits[:, place, token] = 3.0
            return Seq2SeqOutput(logits, ())

    model = Fixed(vocabulary=8, pad=PAD, width=8, blocks=1, heads=2).eval()
    source = torch.tensor([[3, 4], [5, PAD]])
    for found in decode_greedily(model, source, begin=BEGIN, end=END, longest=9):
        assert found.tokens == (5, 6)
        assert found.finished
    (best,) = decode_with_beam(model, source[:1], begin=BEGIN, end=END, longest=9, beams=1)
    assert best.tokens == (5, 6)
