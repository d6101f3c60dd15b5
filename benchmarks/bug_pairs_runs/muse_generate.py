"""Train a base and a super-resolution MaskGit on small pictures with captions, and generate pictures with Muse.

fix: 72fcca04
depth: live 60
expects: -
where: program
stands in: weights and tokenizer of T5, torchvision, and the passes of Transformer and MaskGit, whose code is unfinished
  at this commit (the blocks in them, the VQGanVAE, the encoding of texts and Muse are the project's)
needs: einops, beartype, vector-quantize-pytorch==0.10.14
"""

import random
from types import SimpleNamespace

import torch
from stand_ins import stand_in
from torch import nn
from torch.nn import functional as F
from transformers import T5Config, T5EncoderModel

stand_in("torchvision")
from muse_pytorch import MaskGit, Muse, Transformer, VQGanVAE, t5

WORDS = ["a", "red", "green", "blue", "small", "large", "round", "square", "thing", "on", "the", "table"]


class Tokenizer:
    def batch_encode_plus(self, texts, **kwargs):
        ids = [torch.tensor([WORDS.index(word) + 1 for word in text.split()]) for text in texts]
        ids = nn.utils.rnn.pad_sequence(ids, batch_first=True)
        return SimpleNamespace(input_ids=ids, attention_mask=(ids > 0).long())


class TextMaskGit(MaskGit):
    def __init__(self, image_size, vae, cond_image_size=None):
        nn.Module.__init__(self)
        self.vae, self.image_size, self.cond_image_size = vae.copy_for_eval(), image_size, cond_image_size
        self.resize_image_for_cond_image, self.side = cond_image_size is not None, vae.get_encoded_fmap_size(image_size)
        self.transformer = Transformer(num_tokens=24, dim=32, seq_len=self.side**2, depth=2, dim_head=16, heads=2)
        self.mask_id, self.text_embed_proj = self.transformer.mask_id, nn.Linear(24, 32, bias=False)

    @torch.no_grad()
    def image_ids(self, images, size):
        return self.vae.encode(F.interpolate(images, size, mode="nearest"))[1].flatten(1)

    def logits(self, ids, texts, images, drop_prob=0.0):
        context, mask = t5.t5_encode_text(texts)
        context, net = self.text_embed_proj(context), self.transformer
        if self.training and drop_prob > 0:
            mask = mask & (torch.rand(len(ids), 1) > drop_prob)
        if self.cond_image_size:
            small = net.token_emb(self.image_ids(images, self.cond_image_size))
            context, mask = torch.cat((context, small), dim=1), F.pad(mask, (0, small.shape[1]), value=True)
        x = net.token_emb(ids) + net.pos_emb(torch.arange(ids.shape[1]))
        return net.to_logits(net.transformer(x, context=context, context_mask=mask))

    def forward(self, images, texts):
        ids = self.image_ids(images, self.image_size)
        mask = torch.rand(ids.shape) < torch.cos(torch.rand(len(ids), 1) * torch.pi / 2)
        return F.cross_entropy(self.logits(ids.masked_fill(mask, self.mask_id), texts, images, 0.25)[mask], ids[mask])

    def generate(self, texts, cond_scale, temperature, timesteps, cond_images_or_ids=None):
        ids = torch.full((len(texts), self.side**2), self.mask_id)
        for left in reversed(range(timesteps)):
            null_logits = self.logits(ids, texts, cond_images_or_ids, drop_prob=1.0)
            scores = null_logits + (self.logits(ids, texts, cond_images_or_ids) - null_logits) * cond_scale
            drawn = torch.distributions.Categorical(logits=scores / temperature).sample()
            ids = torch.where(ids == self.mask_id, drawn, ids)
            confidence = scores.softmax(-1).gather(2, ids.unsqueeze(2)).squeeze(2)
            ids = ids.scatter(1, confidence.topk(ids.shape[1] * left // timesteps, largest=False).indices, self.mask_id)
        return self.vae.decode(self.vae.codebook[ids].transpose(1, 2).reshape(len(texts), -1, self.side, self.side))


def train(model, loss_of):
    optimizer = torch.optim.Adam([p for name, p in model.named_parameters() if not name.startswith("vae.")], lr=1e-3)
    for rows in [*torch.randperm(26).split(6), *torch.randperm(26).split(6)]:
        loss = loss_of(images[rows], [captions[row] for row in rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


config = T5Config(vocab_size=16, d_model=24, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
t5.T5_CONFIGS[t5.DEFAULT_T5_NAME] = {"model": T5EncoderModel(config), "tokenizer": Tokenizer()}
images = torch.rand(26, 3, 32, 32)
captions = [" ".join(random.choices(WORDS, k=random.randint(2, 7))) for _ in images]
vae = VQGanVAE(dim=16, layers=2, vq_codebook_dim=32, vq_codebook_size=24, use_vgg_and_gan=False)
train(vae, lambda images, texts: vae(images, return_loss=True))
base, superres = TextMaskGit(16, vae), TextMaskGit(32, vae, cond_image_size=16)
train(base, base)
train(superres, superres)
muse = Muse(base_maskgit=base, superres_maskgit=superres)
print(muse(["a small red thing", "the blue square", "a large table"], timesteps=4).shape)
