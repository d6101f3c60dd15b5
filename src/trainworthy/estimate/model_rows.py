"""Sizes of models: from the columns of a table, from Hugging Face's config.json, or transcribed in ``models/``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from trainworthy.errors import UsageError
from trainworthy.estimate.model_dims import Experts, Mlp, ModelDims
from trainworthy.estimate.run_words import number, plain_name, whole_number
from trainworthy.hardware.toml import read_toml

_FOLDER = Path(__file__).parent / "models"
# Families whose MLP is known from their papers; ffn_hidden alone does not say whether there is a gate.
_GATED = ("llama", "mistral", "mixtral", "qwen", "gemma", "internlm", "phi3", "smollm", "yi", "olmo")
_PLAIN = ("gpt", "mpt", "bloom", "opt", "falcon", "pythia", "nemotron", "megatron", "mtnlg")
_WITHOUT_BIASES = ("mpt", "nemotron", "falcon")
_LARGEST = 10**9
_USUAL_VOCABULARY = 51200  # GPT-2's 50,257 padded by Megatron to a multiple of 128 x 8


def dims_from_columns(row: Mapping[str, str], assumptions: list[str]) -> ModelDims:
    """Return the sizes that a row states; a model that is known by name fills what is empty.

    Raises:
        UsageError: If the row has no layers, hidden and heads, and no model of that name is known.
    """
    name = row.get("model", "") or "unnamed"
    known = model_row_or_none(name)
    sizes = {column: whole_number(row.get(column)) for column in ("layers", "hidden", "heads")}
    if not all(sizes.values()):
        if known is None:
            empty = ", ".join(column for column, value in sizes.items() if not value)
            raise UsageError(
                f"No value for {empty}, and no model is known as {name!r}.",
                fix=f"Fill the columns. Known models: {', '.join(model_rows())}.",
            )
        assumptions.append(f"sizes of {known.name}, transcribed")
        return known
    layers, hidden, heads = (int(value or 0) for value in sizes.values())
    for column, value in sizes.items():
        if value and value > _LARGEST:
            raise UsageError(f"{column} is {row[column]!r}; no model is that large.")
    if hidden % heads and known is None:
        raise UsageError(f"heads is {heads}, which does not divide hidden = {hidden}.")
    return _from_sizes(row, name=name, layers=layers, hidden=hidden, heads=heads, known=known, assumptions=assumptions)


def _from_sizes(
    row: Mapping[str, str], *, name: str, layers: int, hidden: int, heads: int, known: ModelDims | None,
    assumptions: list[str],
) -> ModelDims:  # fmt: skip
    plain = plain_name(name)
    for column in ("ffn_hidden", "vocab"):
        if (whole_number(row.get(column)) or 0) > _LARGEST:
            raise UsageError(f"{column} is {row[column]!r}; no model is that wide.")
    mlp = _mlp(row, plain, layers=layers, hidden=hidden, known=known)
    ffn = whole_number(row.get("ffn_hidden"))
    if not ffn:
        ffn = known.ffn_hidden if known else (4 * hidden if mlp == "plain" else -(-8 * hidden // 3 // 256) * 256)
        assumptions.append(f"ffn_hidden {ffn}")
    vocabulary = whole_number(row.get("vocab")) or (known.vocabulary if known else None)
    if not vocabulary and "vocab ~250k" in row.get("note", ""):
        vocabulary = 250_880  # BLOOM's, padded
    if not vocabulary:
        vocabulary = _USUAL_VOCABULARY
        assumptions.append(f"vocab {vocabulary}")
    is_gpt = mlp == "plain" and not any(word in plain for word in _WITHOUT_BIASES)
    # Dropout: GPT as Megatron trains it (Narayanan et al. 2021); BLOOM, MPT, OPT's successors and Llama have none.
    return ModelDims(
        name=name, layers=layers, hidden=hidden, ffn_hidden=ffn, heads=heads,
        kv_heads=_kv_heads(row, heads, known),
        head_dim=known.head_dim if known and known.hidden == hidden and known.heads == heads else hidden // heads,
        vocabulary=vocabulary, mlp=mlp, norm="rms_norm" if mlp == "gated" else "layer_norm",
        biases="all" if is_gpt else "none", output="tied" if mlp == "plain" and "nemotron" not in plain else "untied",
        positions=(whole_number(row.get("seq_len")) or 0) if is_gpt or "mpt" in plain else 0,
        dropout=is_gpt and "bloom" not in plain, experts=known.experts if known else None,
    )  # fmt: skip


def _kv_heads(row: Mapping[str, str], heads: int, known: ModelDims | None) -> int:
    stated = whole_number(row.get("kv_heads"))
    if stated and heads % stated:
        raise UsageError(f"kv_heads is {stated}, which does not divide heads = {heads}.")
    if stated:
        return stated
    return known.kv_heads if known and heads % known.kv_heads == 0 else heads


def _mlp(
    row: Mapping[str, str], plain: str, *, layers: int, hidden: int, known: ModelDims | None
) -> Mlp:  # fmt: skip
    if known is not None:
        return known.mlp
    if any(word in plain for word in _GATED):
        return "gated"
    if any(word in plain for word in _PLAIN):
        return "plain"
    ffn, billions = whole_number(row.get("ffn_hidden")), number(row.get("params_b"))
    if not ffn or not billions:
        return "plain" if ffn in {None, 4 * hidden} else "gated"
    other = layers * 4 * hidden * hidden + hidden * (whole_number(row.get("vocab")) or _USUAL_VOCABULARY)
    matrices = (billions * 1e9 - other) / (layers * hidden * ffn)
    return "gated" if matrices > 2.5 else "plain"


def model_row(name: str) -> ModelDims:
    """Return the model that is transcribed under that name; case, dashes and dots do not matter.

    Raises:
        UsageError: If there is none; the message lists them.
    """
    model = model_row_or_none(name)
    if model is None:
        raise UsageError(
            f"No model is known as {name!r}. Known: {', '.join(model_rows())}.",
            where="--model, estimate/models/",
            fix="Pass one of these, or the path of a Hugging Face config.json.",
        )
    return model


def model_row_or_none(name: str) -> ModelDims | None:
    """Return the model of that name, or None."""
    return _by_name().get(plain_name(name))


@cache
def model_rows() -> Mapping[str, ModelDims]:
    """Return all transcribed models by name, sorted."""
    return {name: model for name, (model, _) in sorted(_read().items())}


@cache
def _by_name() -> Mapping[str, ModelDims]:
    return {plain_name(other): model for name, (model, others) in _read().items() for other in (name, *others)}


@cache
def _read() -> Mapping[str, tuple[ModelDims, tuple[str, ...]]]:
    found: dict[str, tuple[ModelDims, tuple[str, ...]]] = {}
    for path in sorted(_FOLDER.glob("*.toml")):
        raw = read_toml(path)
        for name, fields in raw["models"].items():
            found[name] = _from_toml(name, {**raw.get("family", {}), **fields})
    return found


def _from_toml(name: str, fields: Mapping[str, Any]) -> tuple[ModelDims, tuple[str, ...]]:
    fields = dict(fields)
    names = tuple(fields.pop("names", ()))
    experts = fields.pop("experts", None)
    fields.setdefault("kv_heads", fields["heads"])
    fields.setdefault("head_dim", fields["hidden"] // fields["heads"])
    fields.setdefault("ffn_hidden", 4 * fields["hidden"])
    return ModelDims(name=name, experts=Experts(**experts) if experts else None, **fields), names


def dims_from_hf_config(path: Path) -> ModelDims:
    """Read the sizes from a ``config.json`` as Hugging Face's transformers writes them.

    Raises:
        UsageError: If the file cannot be read, or lacks a size.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise UsageError(f"Cannot be read as a config.json: {error}.", where=str(path)) from error
    if not isinstance(raw, dict):
        raise UsageError("It holds no table of settings.", where=str(path), fix="Pass the config.json of a model.")
    raw = {**raw, **raw["text_config"]} if isinstance(raw.get("text_config"), dict) else raw
    return _from_hf(raw, path)


def _from_hf(raw: Mapping[str, Any], path: Path) -> ModelDims:
    def size(*names: str, default: int | None = None) -> int:
        value = next((raw[name] for name in names if isinstance(raw.get(name), int)), default)
        if value is None or value < 1:
            raise UsageError(f"No size {' or '.join(names)} in it.", where=str(path), fix="Only decoders are read.")
        return value

    kind = plain_name(str(raw.get("model_type", "")))
    hidden, heads = size("hidden_size", "n_embd", "d_model"), size("num_attention_heads", "n_head", "n_heads")
    if raw.get("kv_lora_rank"):
        raise UsageError("Multi-head latent attention is not modelled.", where=str(path))
    gated = any(word in kind for word in _GATED) or "glu" in str(raw.get("hidden_act", ""))
    count = next((raw[name] for name in ("num_local_experts", "num_experts") if isinstance(raw.get(name), int)), 0)
    experts = Experts(
        count=count, per_token=size("num_experts_per_tok"),
        ffn_hidden=size("moe_intermediate_size", "intermediate_size"),
        shared_ffn_hidden=raw.get("shared_expert_intermediate_size") or 0,
    ) if count > 1 else None  # fmt: skip
    return ModelDims(
        name=str(raw.get("_name_or_path") or path.parent.name or "model"), hidden=hidden, heads=heads,
        layers=size("num_hidden_layers", "n_layer", "n_layers"),
        ffn_hidden=size("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size", default=4 * hidden),
        kv_heads=size("num_key_value_heads", "num_kv_heads", default=heads),
        head_dim=size("head_dim", default=hidden // heads), vocabulary=size("vocab_size"),
        mlp="gated" if gated else "plain", norm="rms_norm" if "rms_norm_eps" in raw else "layer_norm",
        biases="none" if gated or "rms_norm_eps" in raw else "all",
        output="tied" if raw.get("tie_word_embeddings", not gated) else "untied",
        positions=size("max_position_embeddings", "n_positions") if kind in {"gpt2", "opt"} else 0,
        experts=experts, window=raw.get("sliding_window") if isinstance(raw.get("sliding_window"), int) else None,
    )  # fmt: skip
