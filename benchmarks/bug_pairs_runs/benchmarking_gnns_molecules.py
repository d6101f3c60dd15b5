"""Run the project's main script for molecules with its graph convolutional network, on invented molecules.

fix: 1b208382
depth: live 60
expects: TW101
where: nets/molecules_graph_regression/gcn_net.py, train/metrics.py
stands in: dgl (graphs, their batches, the graph convolution), an argument that the scheduler has lost
needs: tensorboardX
"""

import runpy
import sys

import torch
from stand_ins import HERE, package, stand_in
from torch import nn
from torch.optim import lr_scheduler


class ReduceLROnPlateau(lr_scheduler.ReduceLROnPlateau):
    def __init__(self, *args, verbose=False, **kwargs):
        super().__init__(*args, **kwargs)


class Graph:
    def __init__(self, edges, sizes, atoms, bonds):
        self.edges, self.sizes = edges, sizes
        self.ndata, self.edata = {"feat": atoms}, {"feat": bonds}

    def to(self, device):
        return self


def batch(graphs):
    sizes = torch.cat([graph.sizes for graph in graphs])
    starts = sizes.cumsum(0) - sizes
    edges = torch.cat([graph.edges + start for graph, start in zip(graphs, starts, strict=True)], dim=1)
    atoms, bonds = (torch.cat([getattr(graph, name)["feat"] for graph in graphs]) for name in ("ndata", "edata"))
    return Graph(edges, sizes, atoms, bonds)


def mean_nodes(graph, name):
    values = graph.ndata[name]
    owners = torch.repeat_interleave(torch.arange(len(graph.sizes)), graph.sizes)
    sums = torch.zeros(len(graph.sizes), values.shape[1]).index_add(0, owners, values)
    return sums / graph.sizes[:, None]


class GraphConv(nn.Module):
    def __init__(self, in_feats, out_feats, allow_zero_in_degree=False):
        super().__init__()
        self.linear = nn.Linear(in_feats, out_feats)

    def forward(self, graph, values):
        source, target = graph.edges
        degrees = torch.bincount(target, minlength=len(values)).clamp(min=1).float()[:, None]
        sent = (values * degrees**-0.5)[source]
        return self.linear(torch.zeros_like(values).index_add(0, target, sent) * degrees**-0.5)


lr_scheduler.ReduceLROnPlateau = ReduceLROnPlateau
stand_in("dgl", __version__="1.1", batch=batch, mean_nodes=mean_nodes)
stand_in("dgl.function")
stand_in("dgl.nn.pytorch", GraphConv=GraphConv)
stand_in("dgl.nn.pytorch.glob")
package("data", HERE / "data")
from data.molecules import MoleculeDataset


class Molecules(MoleculeDataset):
    def __init__(self, name):
        self.name, self.num_atom_type, self.num_bond_type = name, 28, 4
        self.train, self.val, self.test = ([self.invent() for _ in range(size)] for size in (100, 37, 37))

    def invent(self):
        size = int(torch.randint(9, 30, ()))
        chain = torch.stack([torch.arange(size), torch.arange(1, size + 1) % size])
        atoms, bonds = torch.randint(28, (size,)), torch.randint(1, 4, (size,))
        graph = Graph(torch.cat([chain, chain.flip(0)], dim=1), torch.tensor([size]), atoms, torch.cat([bonds, bonds]))
        return graph, atoms.float().mean()[None] / 7 - 2 + 0.1 * torch.randn(1)


stand_in("data.data", LoadData=Molecules)
script = str(HERE / "main_molecules_graph_regression.py")
sys.argv = [script, "--config", "configs/molecules_graph_regression_GCN_ZINC_100k.json", "--epochs", "4"]
sys.argv += ["--batch_size", "16", "--hidden_dim", "32", "--out_dim", "32", "--out_dir", "out/"]
runpy.run_path(script, run_name="__main__")
