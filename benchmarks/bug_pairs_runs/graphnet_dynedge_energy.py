"""Train DynEdge to predict the energy of events and apply it, as the project's example does.

fix: 33281d91
depth: live 60
expects: TW303
where: src/gnn_reco/models/training/trainers.py
stands in: torch_scatter and the search for nearest neighbours (by plain torch), pandas, xxhash, a module that moved
needs: torch_geometric, pyparsing, requests, urllib3, certifi
"""

import random
import sqlite3
import sys

import torch
from stand_ins import HERE, stand_in


class DataFrame(dict):
    def __init__(self, data, columns):
        super().__init__({name: [row[i] for row in data] for i, name in enumerate(columns)})


stand_in("xxhash")
import torch_geometric.nn
from torch_geometric.utils import homophily, scatter


def knn_graph(x, k, batch):
    distances = torch.cdist(x, x).masked_fill(batch[:, None] != batch, torch.inf)
    nearest = distances.fill_diagonal_(torch.inf).topk(k, largest=False)
    targets = torch.arange(len(x))[:, None].expand(-1, k)
    found = nearest.values < torch.inf
    return torch.stack([nearest.indices[found], targets[found]])


def reduction(name):
    wrap = (lambda reduced: (reduced, None)) if name in ("min", "max") else (lambda reduced: reduced)
    return lambda x, batch, dim: wrap(scatter(x, batch, dim, reduce=name))


torch_geometric.nn.knn_graph = knn_graph
stand_in("pandas", DataFrame=DataFrame)
stand_in("torch_geometric.utils.homophily", homophily=homophily)
stand_in("torch_scatter", **{f"scatter_{name}": reduction(name) for name in ("min", "max", "sum", "mean")})
sys.path.insert(0, str(HERE / "src"))
from gnn_reco.components.loss_functions import LogCoshOfLogTransformed
from gnn_reco.data.constants import FEATURES, TRUTH
from gnn_reco.models import Model
from gnn_reco.models.detector.icecube86 import IceCube86
from gnn_reco.models.gnn import DynEdge
from gnn_reco.models.graph_builders import KNNGraphBuilder
from gnn_reco.models.task.reconstruction import EnergyReconstruction
from gnn_reco.models.training.callbacks import PiecewiseLinearScheduler
from gnn_reco.models.training.trainers import Predictor, Trainer
from gnn_reco.models.training.utils import make_train_validation_dataloader


def write_database(path, events):
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as database:
        for table, columns in (("pulses", FEATURES.ICECUBE86), ("truth", TRUTH.ICECUBE86)):
            database.execute(f"CREATE TABLE {table} (event_no, {', '.join(columns)})")
        for event in range(events):
            energy, place = 10 ** random.uniform(0, 3), [random.gauss(0, 200) for _ in range(3)]
            angles, kind = [random.uniform(0, 6.28), random.uniform(0, 3.14)], random.choice([12, 14, 16])
            row = [event, energy, *place, *angles, kind, random.random(), "NuMu", random.randint(1, 2)]
            database.execute(f"INSERT INTO truth VALUES ({', '.join('?' * len(row))})", row)
            for _ in range(random.randint(10, 30)):
                pulse = [event, *(random.gauss(0, 200) for _ in range(3)), random.gauss(10500, 500)]
                pulse += [random.expovariate(1) * energy**0.3, random.choice([1, 1.35]), 0.0444]
                database.execute(f"INSERT INTO pulses VALUES ({', '.join('?' * len(pulse))})", pulse)


def main():
    random.seed(1)
    torch.manual_seed(1)
    write_database(HERE / "events.db", 150)
    arguments = str(HERE / "events.db"), list(range(150)), "pulses", 16, FEATURES.ICECUBE86, TRUTH.ICECUBE86, 1
    training, validation = make_train_validation_dataloader(*arguments)
    detector = IceCube86(graph_builder=KNNGraphBuilder(nb_nearest_neighbours=8))
    gnn = DynEdge(nb_inputs=detector.nb_outputs, nb_outputs=16, layer_size_scale=2)
    task = EnergyReconstruction(gnn.nb_outputs, target_label="energy", loss_function=LogCoshOfLogTransformed())
    model = Model(detector=detector, gnn=gnn, tasks=[task], device="cpu")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5, eps=1e-03)
    scheduler = PiecewiseLinearScheduler(training, start_lr=1e-5, max_lr=1e-3, end_lr=1e-5, max_epochs=6)
    trained = Trainer(training, validation, optimizer, n_epochs=6, scheduler=scheduler, patience=5)(model)
    Predictor(validation, "energy", "cpu", ["energy_pred", "energy_uncert"])(trained)


if __name__ == "__main__":
    main()
