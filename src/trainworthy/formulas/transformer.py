"""Parameters and FLOPs of transformer layers and decoder models, in the forms that papers use.

All of them count 2 FLOPs a multiply-add, forward and backward (3 times forward), without elementwise arithmetic; they
differ in what N is, in recomputation and in how causal attention is counted. ``per_token`` is per token of the batch.
"""

from __future__ import annotations

from typing import Literal

from trainworthy.formulas.arguments import require_divisible, require_one_of, require_whole
from trainworthy.formulas.attention_flops import Causal

Mlp = Literal["plain", "gated"]
Recompute = Literal["none", "full"]


def layer_matmul_parameters(
    *, hidden: int, ffn: int, heads: int, kv_heads: int | None = None, head_dim: int | None = None, mlp: Mlp = "plain"
) -> int:
    """Count the weights of one transformer layer that take part in matrix products (no biases, no norms).

    Shapes:   queries and output (hidden, heads * head_dim), keys and values (hidden, kv_heads * head_dim),
              MLP 2 (plain) or 3 (gated) matrices (hidden, ffn)
    Unit:     parameters
    Exact?    yes
    Source:   Vaswani et al. 2017; Shazeer, "GLU variants improve transformer", 2020

    >>> layer_matmul_parameters(hidden=768, ffn=3072, heads=12) == 12 * 768**2
    True
    >>> layer_matmul_parameters(hidden=4096, ffn=14336, heads=32, kv_heads=8, mlp="gated")
    218103808

    Raises:
        FormulaError: If a size is below 1, heads do not divide the hidden size, or kv heads the heads.
    """
    kv_heads = heads if kv_heads is None else kv_heads
    require_whole(1, hidden=hidden, ffn=ffn, heads=heads, kv_heads=kv_heads)
    require_one_of(("plain", "gated"), mlp=mlp)
    require_divisible("kv_heads", kv_heads, heads=heads)
    if head_dim is None:
        require_divisible("heads", heads, hidden=hidden)
        head_dim = hidden // heads
    require_whole(1, head_dim=head_dim)
    attention = hidden * head_dim * (2 * heads + 2 * kv_heads)
    return attention + hidden * ffn * (3 if mlp == "gated" else 2)


def decoder_parameters(
    *, layers: int, hidden: int, ffn: int, heads: int, vocabulary: int, kv_heads: int | None = None,
    head_dim: int | None = None, mlp: Mlp = "plain", positions: int = 0, output: Literal["tied", "untied"] = "untied",
    norm: Literal["layer_norm", "rms_norm"] = "rms_norm", biases: Literal["all", "none"] = "none",
) -> int:  # fmt: skip
    """Count all parameters of a decoder: embeddings, layers with two norms each, a last norm, the output matrix.

    Shapes:   embedding (vocabulary, hidden), learned positions (positions, hidden)
    Unit:     parameters; a tied output matrix counts once
    Exact?    yes for GPT-2 and Llama shaped models
    Source:   Radford et al. 2019; Touvron et al. 2023

    >>> decoder_parameters(
    ...     layers=12,
    ...     hidden=768,
    ...     ffn=3072,
    ...     heads=12,
    ...     vocabulary=50257,
    ...     positions=1024,
    ...     output="tied",
    ...     norm="layer_norm",
    ...     biases="all",
    ... )
    124439808
    >>> decoder_parameters(layers=32, hidden=4096, ffn=14336, heads=32, kv_heads=8, mlp="gated", vocabulary=128256)
    8030261248

    Raises:
        FormulaError: As `layer_matmul_parameters`, and for unknown words.
    """
    require_whole(1, layers=layers, vocabulary=vocabulary)
    require_whole(0, positions=positions)
    require_one_of(("tied", "untied"), output=output)
    require_one_of(("layer_norm", "rms_norm"), norm=norm)
    require_one_of(("all", "none"), biases=biases)
    layer = layer_matmul_parameters(
        hidden=hidden, ffn=ffn, heads=heads, kv_heads=kv_heads, head_dim=head_dim, mlp=mlp
    )  # fmt: skip
    width = heads * (hidden // heads if head_dim is None else head_dim)
    kv_width = width // heads * (heads if kv_heads is None else kv_heads)
    if biases == "all":
        layer += width + 2 * kv_width + hidden + ffn * (2 if mlp == "gated" else 1) + hidden
    one_norm = hidden * (2 if norm == "layer_norm" else 1)
    embeddings = (vocabulary + positions) * hidden + (vocabulary * hidden if output == "untied" else 0)
    return layers * (layer + 2 * one_norm) + one_norm + embeddings


def layer_flops_per_token(
    *, sequence: int, hidden: int, ffn: int, heads: int, kv_heads: int | None = None, head_dim: int | None = None,
    mlp: Mlp = "plain", causal: Causal = "full",
) -> float:  # fmt: skip
    """Count FLOPs of one transformer layer for one token, forward: weights, scores, and scores times values.

    Shapes:   as `layer_matmul_parameters`; every token meets ``sequence`` keys (half of them with ``causal="half"``)
    Unit:     FLOP per token
    Exact?    matrix products only
    Source:   Korthikanti et al., "Reducing activation recomputation in large transformer models", 2022, appendix A

    >>> layer_flops_per_token(sequence=2048, hidden=12288, ffn=4 * 12288, heads=96) == 24 * 12288**2 + 4 * 2048 * 12288
    True

    Raises:
        FormulaError: As `layer_matmul_parameters`.
    """
    require_whole(1, sequence=sequence)
    require_one_of(("full", "half", "exact"), causal=causal)
    weights = layer_matmul_parameters(
        hidden=hidden, ffn=ffn, heads=heads, kv_heads=kv_heads, head_dim=head_dim, mlp=mlp
    )  # fmt: skip
    width = heads * (hidden // heads if head_dim is None else head_dim)
    keys = {"full": sequence, "half": sequence / 2, "exact": (sequence + 1) / 2}[causal]
    return 2 * weights + 4 * keys * width


def decoder_flops_per_token(
    *, layers: int, sequence: int, hidden: int, ffn: int, heads: int, vocabulary: int, kv_heads: int | None = None,
    head_dim: int | None = None, mlp: Mlp = "plain", causal: Causal = "full", recompute: Recompute = "none",
) -> float:  # fmt: skip
    """Count FLOPs of a training step for one token, from the shapes: every matrix product, forward and backward.

    Shapes:   as `layer_matmul_parameters`, and logits (hidden, vocabulary)
    Unit:     FLOP per token
    Exact?    matrix products only. Full recomputation runs the layers, not the logits, once more; it is executed
              work, not model FLOPs
    Source:   sum of `layer_flops_per_token`; all published forms below are special cases

    >>> round(
    ...     decoder_flops_per_token(
    ...         layers=32,
    ...         sequence=8192,
    ...         hidden=4096,
    ...         ffn=14336,
    ...         heads=32,
    ...         kv_heads=8,
    ...         mlp="gated",
    ...         vocabulary=128256,
    ...     )
    ...     / 1e9,
    ...     2,
    ... )
    57.91

    Raises:
        FormulaError: As `layer_matmul_parameters`, and for unknown words.
    """
    require_whole(1, layers=layers, vocabulary=vocabulary)
    require_one_of(("none", "full"), recompute=recompute)
    layer = layer_flops_per_token(
        sequence=sequence, hidden=hidden, ffn=ffn, heads=heads, kv_heads=kv_heads, head_dim=head_dim, mlp=mlp,
        causal=causal,
    )  # fmt: skip
    return layers * layer * (4 if recompute == "full" else 3) + 3 * 2 * hidden * vocabulary


def palm_flops_per_token(*, matmul_parameters: int, layers: int, hidden: int, sequence: int) -> int:
    """Count 6 N + 12 L h s: the form of PaLM's model FLOPs utilisation.

    N are the parameters in matrix products: the output matrix is one of them, the look-up of the embedding is not.
    Without the second term it is the rule of thumb 6 N D for a run of D tokens.

    Unit:     FLOP per token, forward and backward
    Exact?    for heads * head_dim = hidden; causal attention counted in full
    Source:   Chowdhery et al., "PaLM", 2022, appendix B; Kaplan et al. 2020 for 6 N

    >>> palm_flops_per_token(matmul_parameters=124_000_000, layers=12, hidden=768, sequence=1024)
    857246208

    Raises:
        FormulaError: If a size is below 1.
    """
    require_whole(1, matmul_parameters=matmul_parameters, layers=layers, hidden=hidden, sequence=sequence)
    return 6 * matmul_parameters + 12 * layers * hidden * sequence


def megatron_flops(
    *, batch: int, sequence: int, layers: int, hidden: int, vocabulary: int, recompute: Recompute = "full"
) -> int:
    """Count 96 B s l h^2 (1 + s/6h + V/16lh), or 72 B s l h^2 (1 + s/6h + V/12lh) without recomputation.

    Unit:     FLOP of a step of ``batch`` sequences, forward and backward
    Exact?    for ffn = 4 hidden and heads without sharing; causal attention counted in full. With ``"full"`` the
              forward pass is counted twice, as the tables of 2021 do: such TFLOP/s are a third above model FLOP/s
    Source:   Narayanan et al., "Efficient large-scale language model training on GPU clusters using Megatron-LM", 2021

    >>> megatron_flops(batch=1536, sequence=2048, layers=96, hidden=12288, vocabulary=51200)
    4510970753323106304

    Raises:
        FormulaError: If a size is below 1.
    """
    require_whole(1, batch=batch, sequence=sequence, layers=layers, hidden=hidden, vocabulary=vocabulary)
    require_one_of(("none", "full"), recompute=recompute)
    passes = 4 if recompute == "full" else 3
    layer = 24 * hidden**2 + 4 * sequence * hidden
    return batch * sequence * (layers * layer * passes + 6 * hidden * vocabulary)


def nvidia_flops_per_token(
    *, layers: int, sequence: int, hidden: int, ffn: int, heads: int, kv_heads: int, vocabulary: int, mlp: Mlp = "gated"
) -> float:
    """Add NVIDIA's three terms: attention 12 L h^2 (1 + kv/heads + s/h), MLP 18 (gated) or 12 L h ffn, output 6 V h.

    Unit:     FLOP per token, forward and backward
    Exact?    for heads * head_dim = hidden; causal attention counted in full
    Source:   NVIDIA, dgxc-benchmarking, llama3.1/README.md (v25.05)

    >>> round(
    ...     nvidia_flops_per_token(
    ...         layers=32,
    ...         sequence=8192,
    ...         hidden=4096,
    ...         ffn=14336,
    ...         heads=32,
    ...         kv_heads=8,
    ...         vocabulary=128256,
    ...     )
    ...     / 1e9,
    ...     2,
    ... )
    57.91

    Raises:
        FormulaError: If a size is below 1.
    """
    require_whole(1, layers=layers, sequence=sequence, hidden=hidden, ffn=ffn, heads=heads, kv_heads=kv_heads)
    require_whole(1, vocabulary=vocabulary)
    require_one_of(("plain", "gated"), mlp=mlp)
    attention = 12 * layers * hidden**2 * (1 + kv_heads / heads + sequence / hidden)
    return attention + (18 if mlp == "gated" else 12) * layers * hidden * ffn + 6 * vocabulary * hidden


def training_flops(*, parameters: int, tokens: int) -> int:
    """Count 6 N D: the rule of thumb for a whole run.

    Unit:     FLOP
    Exact?    no: attention scores are left out, 12 L h s beside 6 N per token
    Source:   Kaplan et al., "Scaling laws for neural language models", 2020

    >>> training_flops(parameters=7 * 10**9, tokens=10**12)
    42000000000000000000000

    Raises:
        FormulaError: If an argument is negative.
    """
    require_whole(0, parameters=parameters, tokens=tokens)
    return 6 * parameters * tokens
