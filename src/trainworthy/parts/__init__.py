"""What recipes are made of: models, losses, masks, initialisation, data, search, neighbours; each on its own.

Every name comes from here or from its module. Nothing is imported, torch neither, before a name is used; docs/parts.md
lists them with an example each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainworthy.parts.accumulation import Accumulated, accumulate
    from trainworthy.parts.attention import Attended, MultiHeadAttention, attend
    from trainworthy.parts.data.alphabet import ALIGNED_PROTEIN, DNA, PROTEIN, Alphabet
    from trainworthy.parts.data.collate import PadCollate
    from trainworthy.parts.data.gather import gather_uneven
    from trainworthy.parts.data.order import LengthBucketSampler, ReshufflingSampler, epoch_order, seed_of
    from trainworthy.parts.data.readers import FastaRecord, read_csv, read_fasta, read_json, read_jsonl
    from trainworthy.parts.data.split import split_indices, split_of
    from trainworthy.parts.duplicates import (
        Duplicate,
        difference_hash,
        exact_duplicates,
        near_duplicate_images,
        near_duplicates,
    )
    from trainworthy.parts.initialisation import Signal, check_signals, copied_units, initialise, signals
    from trainworthy.parts.losses.cross_entropy import Total, cross_entropy, target_weight
    from trainworthy.parts.losses.gan import GanLoss, gradient_penalty
    from trainworthy.parts.losses.overlap import dice_loss
    from trainworthy.parts.losses.smooth_l1 import box_iou, decode_boxes, encode_boxes, smooth_l1
    from trainworthy.parts.losses.variational import kl_to_standard_normal, negative_elbo
    from trainworthy.parts.masks import (
        Hidden,
        Keep,
        additive,
        attention_keep,
        causal_keep,
        hide,
        keep,
        left_pad_sequence,
        lengths_keep,
        pad,
        positions_of,
        token_keep,
    )
    from trainworthy.parts.metrics import (
        confusion,
        iou,
        kmer_accuracy,
        perplexity,
        residue_kmer_accuracy,
        unigram_perplexity,
    )
    from trainworthy.parts.models.alexnet import AlexNet
    from trainworthy.parts.models.convnext import ChannelNorm, ConvNeXt, ConvNeXtBlock
    from trainworthy.parts.models.dcgan import Discriminator, Gan, Generator, latent_noise
    from trainworthy.parts.models.decoder import Decoder, DecoderOutput, generate
    from trainworthy.parts.models.fcn import FCN, Grid, bilinear_upsampling, crop_offsets
    from trainworthy.parts.models.googlenet import GoogLeNet, GoogLeNetLogits, Inception
    from trainworthy.parts.models.layers import RandomSkip, conv_norm_relu
    from trainworthy.parts.models.mlp import TabularMLP
    from trainworthy.parts.models.protein import (
        AlignmentPairs,
        OuterProductMean,
        OuterSum,
        ProteinEncoder,
        ProteinOutput,
        mean_over,
    )
    from trainworthy.parts.models.resnet import ResidualBlock, ResNet
    from trainworthy.parts.models.seq2seq import Decoded, Seq2Seq, Seq2SeqOutput, decode_greedily, decode_with_beam
    from trainworthy.parts.models.transformer import BlockOutput, TransformerBlock, sinusoids
    from trainworthy.parts.models.unet import UNet, centre_crop, unet_output_size
    from trainworthy.parts.models.vae import Vae, VaeOutput
    from trainworthy.parts.models.vgg import VGG, vgg_stages
    from trainworthy.parts.module import TypedModule, count_parameters, module_names
    from trainworthy.parts.neighbours import Nearest, Neighbours, Within, choose_way, intrinsic_dimension, knn_accuracy
    from trainworthy.parts.search import (
        Found,
        acceptance,
        geometric,
        hill_climbing,
        linear,
        logarithmic,
        simulated_annealing,
        starting_temperature,
    )

__all__ = [
    "ALIGNED_PROTEIN",
    "DNA",
    "FCN",
    "PROTEIN",
    "VGG",
    "Accumulated",
    "AlexNet",
    "AlignmentPairs",
    "Alphabet",
    "Attended",
    "BlockOutput",
    "ChannelNorm",
    "ConvNeXt",
    "ConvNeXtBlock",
    "Decoded",
    "Decoder",
    "DecoderOutput",
    "Discriminator",
    "Duplicate",
    "FastaRecord",
    "Found",
    "Gan",
    "GanLoss",
    "Generator",
    "GoogLeNet",
    "GoogLeNetLogits",
    "Grid",
    "Hidden",
    "Inception",
    "Keep",
    "LengthBucketSampler",
    "MultiHeadAttention",
    "Nearest",
    "Neighbours",
    "OuterProductMean",
    "OuterSum",
    "PadCollate",
    "ProteinEncoder",
    "ProteinOutput",
    "RandomSkip",
    "ResNet",
    "ReshufflingSampler",
    "ResidualBlock",
    "Seq2Seq",
    "Seq2SeqOutput",
    "Signal",
    "TabularMLP",
    "Total",
    "TransformerBlock",
    "TypedModule",
    "UNet",
    "Vae",
    "VaeOutput",
    "Within",
    "acceptance",
    "accumulate",
    "additive",
    "attend",
    "attention_keep",
    "bilinear_upsampling",
    "box_iou",
    "causal_keep",
    "centre_crop",
    "check_signals",
    "choose_way",
    "confusion",
    "conv_norm_relu",
    "copied_units",
    "count_parameters",
    "crop_offsets",
    "cross_entropy",
    "decode_boxes",
    "decode_greedily",
    "decode_with_beam",
    "dice_loss",
    "difference_hash",
    "encode_boxes",
    "epoch_order",
    "exact_duplicates",
    "gather_uneven",
    "generate",
    "geometric",
    "gradient_penalty",
    "hide",
    "hill_climbing",
    "initialise",
    "intrinsic_dimension",
    "iou",
    "keep",
    "kl_to_standard_normal",
    "kmer_accuracy",
    "knn_accuracy",
    "latent_noise",
    "left_pad_sequence",
    "lengths_keep",
    "linear",
    "logarithmic",
    "mean_over",
    "module_names",
    "near_duplicate_images",
    "near_duplicates",
    "negative_elbo",
    "pad",
    "perplexity",
    "positions_of",
    "read_csv",
    "read_fasta",
    "read_json",
    "read_jsonl",
    "residue_kmer_accuracy",
    "seed_of",
    "signals",
    "simulated_annealing",
    "sinusoids",
    "smooth_l1",
    "split_indices",
    "split_of",
    "starting_temperature",
    "target_weight",
    "token_keep",
    "unet_output_size",
    "unigram_perplexity",
    "vgg_stages",
]

# Which module has which names, in the order of docs/parts.md.
MODULES = {
    "module": "TypedModule count_parameters module_names",
    "models.alexnet": "AlexNet",
    "models.vgg": "VGG vgg_stages",
    "models.googlenet": "GoogLeNet GoogLeNetLogits Inception",
    "models.resnet": "ResNet ResidualBlock",
    "models.convnext": "ChannelNorm ConvNeXt ConvNeXtBlock",
    "models.layers": "RandomSkip conv_norm_relu",
    "models.unet": "UNet centre_crop unet_output_size",
    "models.fcn": "FCN Grid bilinear_upsampling crop_offsets",
    "models.dcgan": "Discriminator Gan Generator latent_noise",
    "models.vae": "Vae VaeOutput",
    "models.transformer": "BlockOutput TransformerBlock sinusoids",
    "models.decoder": "Decoder DecoderOutput generate",
    "models.seq2seq": "Decoded Seq2Seq Seq2SeqOutput decode_greedily decode_with_beam",
    "models.mlp": "TabularMLP",
    "models.protein": "AlignmentPairs OuterProductMean OuterSum ProteinEncoder ProteinOutput mean_over",
    "attention": "Attended MultiHeadAttention attend",
    "masks": "Hidden Keep additive attention_keep causal_keep hide keep left_pad_sequence lengths_keep pad "
    "positions_of token_keep",
    "losses.cross_entropy": "Total cross_entropy target_weight",
    "losses.smooth_l1": "box_iou decode_boxes encode_boxes smooth_l1",
    "losses.gan": "GanLoss gradient_penalty",
    "losses.overlap": "dice_loss",
    "losses.variational": "kl_to_standard_normal negative_elbo",
    "initialisation": "Signal check_signals copied_units initialise signals",
    "accumulation": "Accumulated accumulate",
    "data.readers": "FastaRecord read_csv read_fasta read_json read_jsonl",
    "data.alphabet": "ALIGNED_PROTEIN Alphabet DNA PROTEIN",
    "data.split": "split_indices split_of",
    "data.collate": "PadCollate",
    "data.order": "LengthBucketSampler ReshufflingSampler epoch_order seed_of",
    "data.gather": "gather_uneven",
    "metrics": "confusion iou kmer_accuracy perplexity residue_kmer_accuracy unigram_perplexity",
    "neighbours": "Nearest Neighbours Within choose_way intrinsic_dimension knn_accuracy",
    "duplicates": "Duplicate difference_hash exact_duplicates near_duplicate_images near_duplicates",
    "search": "Found acceptance geometric hill_climbing linear logarithmic simulated_annealing starting_temperature",
}

_HOMES = {name: f"trainworthy.parts.{module}" for module, names in MODULES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'trainworthy.parts' has no attribute {name!r}")
    from importlib import import_module

    try:
        return getattr(import_module(home), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        from trainworthy.errors import MissingTorchError

        raise MissingTorchError(f"{name} of trainworthy.parts") from None


def __dir__() -> list[str]:
    return sorted(__all__)
