"""Simulate federated training of a classifier in a single process, by the project's main.py.

fix: 0adbc15b
depth: live 60
expects: -
where: program
stands in: torchvision, the messages compiled for grpc
needs: yacs, pympler
"""

import runpy
import sys

import numpy as np
import torch
from stand_ins import HERE, stand_in
from torch.utils.data import DataLoader, TensorDataset

stand_in("torchvision")
for name in ("gRPC_comm_manager_pb2", "gRPC_comm_manager_pb2_grpc"):
    sys.modules[f"federatedscope.core.proto.{name}"] = stand_in(name, gRPCComServeFuncServicer=object)
from federatedscope.register import register_data

CLIENTS, FEATURES, CLASSES = 4, 6, 3


def make_loader(size, centres, shift, batch_size, shuffle):
    labels = torch.randint(CLASSES, (size,))
    samples = centres[labels] + shift + torch.randn(size, FEATURES)
    return DataLoader(TensorDataset(samples, labels), batch_size=batch_size, shuffle=shuffle)


def make_clients(config):
    if config.data.type != "clusters":
        return None
    centres, data = 2 * torch.randn(CLASSES, FEATURES), {}
    for client in range(1, CLIENTS + 1):
        shift, size = torch.randn(FEATURES) / 2, np.random.randint(40, 90)
        data[client] = {
            "train": make_loader(size, centres, shift, config.data.batch_size, shuffle=True),
            "val": make_loader(20, centres, shift, config.data.batch_size, shuffle=False),
            "test": make_loader(20, centres, shift, config.data.batch_size, shuffle=False),
        }
    return data, config


register_data("clusters", make_clients)
options = f"""
use_gpu False federate.client_num {CLIENTS} federate.online_aggr False federate.total_round_num 6 eval.freq 2
eval.metrics ['acc'] data.type clusters data.batch_size 16 criterion.type CrossEntropyLoss train.local_update_steps 4
model.type mlp model.hidden 16 model.out_channels {CLASSES} train.optimizer.lr 0.05
"""
sys.argv = ["main.py", "--cfg", "federatedscope/example_configs/single_process.yaml", *options.split()]
runpy.run_path(str(HERE / "federatedscope/main.py"), run_name="__main__")
