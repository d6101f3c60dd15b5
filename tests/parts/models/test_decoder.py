"""The decoder against Hugging Face's GPT-2 with the same weights; padding on either side changes nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trainworthy.errors import ShapeError
from trainworthy.parts.masks import Keep, Side, lengths_keep, pad
from trainworthy.parts.models.decoder import Decoder, generate

SIZES = {"vocabulary": 17, "context": 12, "width": 8, "blocks": 2, "heads": 2}


@pytest.fixture
def model() -> Decoder:
    torch.manual_seed(0)
    model = Decoder(**SIZES)  # type: ignore[arg-type]
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def gpt2_weights(model: Decoder) -> dict[str, Tensor]:
    """Rename to what Hugging Face has; its layers are transposed, query, key and value are one."""
    mine = model.state_dict()
    theirs = {"transformer.wte.weight": mine["embedding.weight"], "transformer.wpe.weight": mine["position.weight"]}
    theirs |= {f"transformer.ln_f.{kind}": mine[f"norm.{kind}"] for kind in ("weight", "bias")}
    names = {"attention_norm": "ln_1", "attention.out": "attn.c_proj", "network_norm": "ln_2", "expand": "mlp.c_fc"}
    names["contract"] = "mlp.c_proj"
    for index in range(len(model.blocks)):
        here, there = f"blocks.{index}.", f"transformer.h.{index}."
        for kind in ("weight", "bias"):
            joined = torch.cat([mine[f"{here}attention.{which}.{kind}"] for which in ("query", "key", "value")])
            theirs[f"{there}attn.c_attn.{kind}"] = joined.T if kind == "weight" else joined
            for name, other in names.items():
                value = mine[f"{here}{name}.{kind}"]
                theirs[f"{there}{other}.{kind}"] = value.T if value.dim() == 2 else value
    return theirs


@pytest.mark.parametrize("side", ["left", "right"])
def test_logits_are_those_of_gpt2(model: Decoder, side: Side) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=17, n_positions=12, n_embd=8, n_layer=2, n_head=2)
    theirs = GPT2LMHeadModel(config)
    theirs.train(False)
    missing = theirs.load_state_dict(gpt2_weights(model), strict=False)
    assert set(missing.missing_keys) <= {"lm_head.weight"}
    assert not missing.unexpected_keys
    theirs.tie_weights()
    tokens, real = torch.randint(17, (3, 7)), lengths_keep(torch.tensor([7, 4, 1]), 7, side)
    places = (real.long().cumsum(1) - 1).clamp_min(0)
    with torch.no_grad():
        want = theirs(tokens, attention_mask=real.long(), position_ids=places, use_cache=False).logits
        got = model(tokens, real=real).logits
    torch.testing.assert_close(got[real], want[real], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(model: Decoder, side: Side) -> None:
    rows = [torch.randint(17, (size,)) for size in (3, 6)]
    real = lengths_keep(torch.tensor([3, 6]), 6, side)
    together = model(pad(rows, value=5, side=side).long(), real=real).logits
    for row, tokens in enumerate(rows):
        torch.testing.assert_close(together[row][real[row]], model(tokens[None]).logits[0])


def test_the_future_is_not_seen(model: Decoder) -> None:
    tokens = torch.randint(17, (1, 8))
    changed = tokens.clone()
    changed[0, 5:] = (changed[0, 5:] + 1) % 17
    assert torch.equal(model(tokens).logits[:, :5], model(changed).logits[:, :5])
    assert not torch.equal(model(tokens).logits[:, 5:], model(changed).logits[:, 5:])


def test_visible_weights_change_nothing(model: Decoder) -> None:
    tokens = torch.randint(17, (2, 5))
    seen = model(tokens, weights=True)
    assert [tuple(weights.shape) for weights in seen.weights] == [(2, 2, 5, 5)] * 2
    assert all(torch.equal(weights, weights.tril()) for weights in seen.weights)
    torch.testing.assert_close(seen.logits, model(tokens).logits)
    assert model(tokens).weights == ()


def test_generation_is_a_loop_of_argmax_and_does_not_depend_on_the_batch(model: Decoder) -> None:
    rows, expected = [torch.tensor([3, 1, 4]), torch.tensor([1, 5, 9, 2])], []
    for row in rows:
        grown = row
        for _ in range(4):
            grown = torch.cat([grown, model(grown[None]).logits[0, -1].argmax()[None]])
        expected.append(grown[-4:])
        assert torch.equal(generate(model, row[None], count=4)[0, -4:], grown[-4:])
    batch = pad(rows, side="left").long()
    got = generate(model, batch, count=4, real=lengths_keep(torch.tensor([3, 4]), 4, "left"))
    assert torch.equal(got[:, -4:], torch.stack(expected))


def test_generation_goes_beyond_the_context_and_draws_by_seed(model: Decoder) -> None:
    draws = [
        generate(model, torch.tensor([[1]]), count=20, temperature=1.0, generator=torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    ]
    assert draws[0].shape == (1, 21)
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_branches_end_narrower() -> None:
    torch.manual_seed(0)
    model = Decoder(vocabulary=50, context=8, width=64, blocks=8, heads=2)
    ends = torch.cat(
        [p.flatten() for n, p in model.named_parameters() if n.endswith(("out.weight", "contract.weight"))]
    )
    assert ends.std().item() == pytest.approx(0.02 / 4, rel=0.02)
    assert model.out.weight is model.embedding.weight


def test_mistakes_are_said(model: Decoder) -> None:
    with pytest.raises(ShapeError, match="13 tokens does not fit the context of 12"):
        model(torch.zeros(1, 13, dtype=torch.long))
    with pytest.raises(ShapeError, match="Pad on the left"):
        generate(model, torch.zeros(1, 2, dtype=torch.long), count=1, real=Keep(torch.tensor([[True, False]])))
