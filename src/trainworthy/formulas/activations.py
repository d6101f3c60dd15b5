"""Activations that a transformer layer keeps for its backward pass; checkpointing and parallelism divide them."""

from __future__ import annotations

from typing import Literal

from trainworthy.formulas.arguments import require_divisible, require_one_of, require_whole

Checkpointing = Literal["none", "selective", "full"]
TensorRegions = Literal["tensor", "tensor+sequence"]


def layer_activation_bytes(
    *, sequence: int, batch: int, hidden: int, heads: int, checkpointing: Checkpointing = "none",
    tensor_parallel: int = 1, regions: TensorRegions = "tensor",
) -> int:  # fmt: skip
    """Count the bytes that one layer keeps, 16-bit with dropout: s b h (34 + 5 a s / h) and what becomes of it.

    ======================  ======================  ==================  ===============
    checkpointing           tensor parallel t       + sequence          alone (t = 1)
    ======================  ======================  ==================  ===============
    none                    10 + 24/t + 5as/(ht)    (34 + 5as/h) / t    34 + 5as/h
    selective (attention)   10 + 24/t               34 / t              34
    full                    2                       2 / t               2
    ======================  ======================  ==================  ===============

    all times s b h. A fused attention kernel keeps no scores either, so that it has the figures of ``"selective"``.

    Shapes:   s = sequence, b = batch (of one micro-batch), h = hidden, a = heads, t = tensor_parallel
    Unit:     bytes
    Exact?    for that layer: GELU of 4 h, dropout after attention and MLP, layer-norm inputs kept; statistics of the
              norms left out. Full checkpointing with sequence parallelism shards the kept input
    Source:   Korthikanti et al., "Reducing activation recomputation in large transformer models", 2022, table 2

    >>> layer_activation_bytes(sequence=2048, batch=1, hidden=12288, heads=96) == 2048 * 12288 * (34 + 80)
    True
    >>> [
    ...     layer_activation_bytes(
    ...         sequence=2048,
    ...         batch=1,
    ...         hidden=12288,
    ...         heads=96,
    ...         tensor_parallel=8,
    ...         checkpointing=kind,
    ...         regions="tensor+sequence",
    ...     )
    ...     // 2**20
    ...     for kind in ("none", "selective", "full")
    ... ]
    [342, 102, 6]

    Raises:
        FormulaError: For sizes below 1, unknown words, or ranks that do not divide heads, hidden or sequence.
    """
    require_whole(1, sequence=sequence, batch=batch, hidden=hidden, heads=heads, tensor_parallel=tensor_parallel)
    require_one_of(("none", "selective", "full"), checkpointing=checkpointing)
    require_one_of(("tensor", "tensor+sequence"), regions=regions)
    require_divisible("tensor_parallel", tensor_parallel, heads=heads, hidden=hidden)
    if regions == "tensor+sequence":
        require_divisible("tensor_parallel", tensor_parallel, sequence=sequence)
    t = tensor_parallel
    tokens = sequence * batch
    shared = 1 if regions == "tensor" else t  # what plain tensor parallelism keeps whole on every rank
    if checkpointing == "full":
        return 2 * tokens * hidden // shared
    kept = 10 * tokens * hidden // shared + 24 * tokens * hidden // t
    scores = 5 * heads * sequence * tokens // t
    return kept + (scores if checkpointing == "none" else 0)


def general_layer_activation_bytes(
    *, sequence: int, batch: int, hidden: int, ffn: int, heads: int, kv_heads: int | None = None,
    head_dim: int | None = None, mlp: Literal["plain", "gated"] = "gated", bytes_per_element: int = 2,
    dropout: Literal["on", "off"] = "off", attention: Literal["fused", "unfused"] = "fused",
) -> int:  # fmt: skip
    """Count the bytes that a layer of any shape keeps on one GPU, tensor by tensor, without checkpointing.

    Inputs of the two norms and of the products that follow (4 h), queries, keys and values, the result of attention
    (input of its projection), and in the MLP the inputs of the activation function and of the last product: f + f
    (plain), or 2 f and f for activation times gate, plus f for the activation itself (gated). Unfused attention keeps
    scores after softmax, and with dropout a mask (1 byte) and the dropped scores; fused attention keeps one float32 a
    row.

    Shapes:   tokens (batch * sequence); f = ffn; queries heads * head_dim, keys and values kv_heads * head_dim
    Unit:     bytes
    Exact?    for eager PyTorch without tricks; norms' statistics are left out, kernels that fuse the activation keep
              less
    Source:   Korthikanti et al. 2022, section 4.1, generalised; it gives their 34 + 5as/h

    >>> general_layer_activation_bytes(
    ...     sequence=2048,
    ...     batch=1,
    ...     hidden=12288,
    ...     ffn=4 * 12288,
    ...     heads=96,
    ...     mlp="plain",
    ...     dropout="on",
    ...     attention="unfused",
    ... ) == 2048 * 12288 * (34 + 80)
    True

    Raises:
        FormulaError: For sizes below 1, unknown words, or heads that do not divide.
    """
    kv_heads = heads if kv_heads is None else kv_heads
    require_whole(1, sequence=sequence, batch=batch, hidden=hidden, ffn=ffn, heads=heads, kv_heads=kv_heads)
    require_whole(1, bytes_per_element=bytes_per_element)
    require_one_of(("plain", "gated"), mlp=mlp)
    require_one_of(("on", "off"), dropout=dropout)
    require_one_of(("fused", "unfused"), attention=attention)
    require_divisible("kv_heads", kv_heads, heads=heads)
    if head_dim is None:
        require_divisible("heads", heads, hidden=hidden)
        head_dim = hidden // heads
    require_whole(1, head_dim=head_dim)
    width, kv_width = heads * head_dim, kv_heads * head_dim
    elements = 4 * hidden + 2 * width + 2 * kv_width + ffn * (4 if mlp == "gated" else 2)
    masks = 2 * hidden if dropout == "on" else 0
    tokens = batch * sequence
    total = tokens * (elements * bytes_per_element + masks)
    if attention == "fused":
        return total + tokens * heads * 4
    kept_scores = bytes_per_element + (bytes_per_element + 1 if dropout == "on" else 0)
    return total + tokens * heads * sequence * kept_scores


def logits_bytes(*, tokens: int, vocabulary: int, bytes_per_element: int = 4, copies: int = 2) -> int:
    """Count bytes of logits: of large vocabularies they are the highest point of the step.

    An unfused cross-entropy keeps the logits and their log-softmax, and makes a gradient of the same size: up to three.

    Shapes:   (tokens, vocabulary)
    Unit:     bytes
    Exact?    for that many copies
    Source:   torch.nn.functional.cross_entropy: log_softmax, nll_loss

    >>> logits_bytes(tokens=8192, vocabulary=128256) / 2**30
    7.828125

    Raises:
        FormulaError: For negative sizes.
    """
    require_whole(0, tokens=tokens, vocabulary=vocabulary, bytes_per_element=bytes_per_element, copies=copies)
    return tokens * vocabulary * bytes_per_element * copies


def checkpoint_every_bytes(*, layers: int, layer_bytes: int, input_bytes: int, segment: int) -> int:
    """Count the highest point when every ``segment`` layers keep their first input and are run again in backward.

    All inputs of segments are kept, and one segment's activations exist at a time.

    Unit:     bytes
    Exact?    for equal layers
    Source:   Chen et al., "Training deep nets with sublinear memory cost", 2016: least at about sqrt(layers) segments

    >>> [checkpoint_every_bytes(layers=64, layer_bytes=34, input_bytes=2, segment=n) for n in (1, 2, 64)]
    [162, 132, 2178]

    Raises:
        FormulaError: For sizes below 0, or a segment that is not between 1 and ``layers``.
    """
    require_whole(1, layers=layers, segment=segment)
    require_whole(0, layer_bytes=layer_bytes, input_bytes=input_bytes)
    segments = -(-layers // segment)
    return segments * input_bytes + min(segment, layers) * layer_bytes
