"""Fine-tune on 12 examples with the wrapper's own train(): batches of 4, gradients accumulated over 4.

fix: 4fd6f258
depth: live 8
expects: TW375
where: pet/wrapper.py
stands in: jsonpickle, log, names that transformers has dropped (AdamW is torch's); preprocessing
"""

from types import SimpleNamespace

import torch
import transformers
from stand_ins import HERE, load, package, stand_in
from torch.utils.data import Dataset

stand_in("jsonpickle")
stand_in("log", get_logger=lambda name: SimpleNamespace(info=lambda *args: None, debug=lambda *args: None))
package("pet", HERE / "pet")
stand_in("pet.preprocessor")
stand_in("pet.tasks", TASK_HELPERS={})
stand_in("pet.utils")
transformers.AdamW = torch.optim.AdamW
for name in ("InputExample", "XLNetConfig", "XLNetForSequenceClassification", "XLNetTokenizer", "XLNetLMHeadModel"):
    if not hasattr(transformers, name):
        setattr(transformers, name, type(name, (), {}))
wrapper = load("pet/wrapper.py")


class Examples(Dataset):
    def __len__(self):
        return 12

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        ids = torch.randint(5, 50, (16,), generator=generator)
        return {
            "input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids),
            "labels": torch.tensor(index % 2), "mlm_labels": ids, "logits": torch.zeros(2), "idx": torch.tensor(index),
        }  # fmt: skip


class Wrapper(wrapper.TransformerModelWrapper):
    def __init__(self):
        self.config = SimpleNamespace(wrapper_type=wrapper.SEQUENCE_CLASSIFIER_WRAPPER, model_type="bert")
        self.task_helper = None
        self.model = transformers.BertForSequenceClassification(
            transformers.BertConfig(
                vocab_size=50, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
            )
        )

    def _generate_dataset(self, data, labelled=True, **kwargs):
        return Examples()


device = torch.device("cpu")
Wrapper().train(
    [None] * 12, device, per_gpu_train_batch_size=4, n_gpu=1, num_train_epochs=8, gradient_accumulation_steps=4,
    max_steps=-1, logging_steps=-1,
)  # fmt: skip
