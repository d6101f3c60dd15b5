"""The sizes of a decoder that decide what a step of it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trainworthy.formulas.transformer import decoder_parameters, layer_matmul_parameters

Mlp = Literal["plain", "gated"]
Norm = Literal["layer_norm", "rms_norm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """The experts of a mixture-of-experts layer; a token is sent to ``per_token`` of them."""

    count: int
    per_token: int
    ffn_hidden: int
    shared_ffn_hidden: int = 0
    """Width of what every token passes besides; 0: nothing."""
    dense_layers: int = 0
    """Layers, out of all, that have a plain MLP instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDims:
    """The sizes of a decoder. ``vocabulary`` None is unknown."""

    name: str
    layers: int
    hidden: int
    ffn_hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int | None
    mlp: Mlp
    norm: Norm
    biases: Literal["all", "none"] = "none"
    output: Literal["tied", "untied"] = "untied"
    positions: int = 0
    """Rows of a learned position embedding; 0: rotary, ALiBi or none."""
    dropout: bool = False
    experts: Experts | None = None
    window: int | None = None
    """Keys a token sees in the layers with a sliding window; None: all."""

    @property
    def attention_width(self) -> int:
        """Width of queries: heads x head_dim."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Width of keys, and of values."""
        return self.kv_heads * self.head_dim

    @property
    def mlp_matrices(self) -> int:
        """Matrices of one MLP: 2, or 3 with a gate."""
        return 3 if self.mlp == "gated" else 2

    @property
    def moe_layers(self) -> int:
        """Layers with experts."""
        return 0 if self.experts is None else self.layers - self.experts.dense_layers

    @property
    def attention_parameters(self) -> int:
        """Weights of the attention of one layer that take part in matrix products."""
        return self.hidden * 2 * (self.attention_width + self.kv_width)

    @property
    def dense_mlp_parameters(self) -> int:
        """Weights of one MLP without experts."""
        return self.mlp_matrices * self.hidden * self.ffn_hidden

    @property
    def active_layer_parameters(self) -> int:
        """Matrix weights that one token meets, summed over all layers."""
        if self.experts is None:
            return self.layers * self._dense_layer_parameters
        experts = self.experts
        width = experts.per_token * experts.ffn_hidden + experts.shared_ffn_hidden
        moe = self.attention_parameters + self.hidden * (self.mlp_matrices * width + experts.count)
        return experts.dense_layers * self._dense_layer_parameters + self.moe_layers * moe

    @property
    def active_matmul_parameters(self) -> int:
        """Matrix weights that one token meets, with the output matrix where its size is known."""
        return self.active_layer_parameters + self.hidden * (self.vocabulary or 0)

    @property
    def parameters(self) -> int:
        """All parameters, the embedding and the output matrix too where the vocabulary is known."""
        dense = decoder_parameters(
            layers=self.layers, hidden=self.hidden, ffn=self.ffn_hidden, heads=self.heads, kv_heads=self.kv_heads,
            head_dim=self.head_dim, vocabulary=self.vocabulary or 1, mlp=self.mlp, positions=self.positions,
            output=self.output, norm=self.norm, biases=self.biases,
        )  # fmt: skip
        if self.experts is None:
            return dense
        experts = self.experts
        width = experts.count * experts.ffn_hidden + experts.shared_ffn_hidden
        moe_mlp = self.hidden * (self.mlp_matrices * width + experts.count)
        return dense + self.moe_layers * (moe_mlp - self.dense_mlp_parameters)

    @property
    def expert_parameters(self) -> int:
        """Parameters of the routed experts of all layers: what expert parallelism divides."""
        if self.experts is None:
            return 0
        return self.moe_layers * self.mlp_matrices * self.hidden * self.experts.count * self.experts.ffn_hidden

    @property
    def _dense_layer_parameters(self) -> int:
        return layer_matmul_parameters(
            hidden=self.hidden, ffn=self.ffn_hidden, heads=self.heads, kv_heads=self.kv_heads,
            head_dim=self.head_dim, mlp=self.mlp,
        )  # fmt: skip
