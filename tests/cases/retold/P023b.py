import torch
import torch.nn as nn


class MiniTrainer:
    """A very small copy of a trainer with compute_loss / prediction_step hooks."""

    def __init__(self, model, args, train_set, eval_set):
        self.model, self.args, self.train_set, self.eval_set = model, args, train_set, eval_set
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=args["learning_rate"])

    def get_dataloader(self, data, shuffle):
        return torch.utils.data.DataLoader(data, batch_size=self.args["batch_size"], shuffle=shuffle)

    def compute_loss(self, model, inputs):
        raise NotImplementedError

    def train(self):
        for epoch in range(self.args["num_train_epochs"]):
            self.model.train()
            for inputs in self.get_dataloader(self.train_set, True):
                loss = self.compute_loss(self.model, inputs)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
            print({"epoch": epoch, "loss": round(loss.item(), 4)})

    def evaluate(self):
        self.model.eval()
        total = 0.0
        with torch.no_grad():
            for inputs in self.get_dataloader(self.eval_set, False):
                total += self.compute_loss(self.model, inputs).item() * len(inputs["trip_time"])
        return {"eval_loss": total / len(self.eval_set)}


class Trips(torch.utils.data.Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.road = torch.randint(0, 20, (n, 15), generator=g)
        cost = torch.linspace(0.1, 1.0, 20)
        self.time = cost[self.road].sum(1) + 0.5 * (self.road[:, 1:] == self.road[:, :-1]).sum(1)

    def __len__(self):
        return len(self.time)

    def __getitem__(self, i):
        return {"road_ids": self.road[i], "trip_time": self.time[i]}


class TripTime(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.road = nn.Embedding(20, dim)
        self.pos = nn.Embedding(15, dim)
        layer = nn.TransformerEncoderLayer(dim, nhead=2, dim_feedforward=32, dropout=0.1)  # BUG
        # FIX: layer = nn.TransformerEncoderLayer(dim, 2, dim_feedforward=32, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, num_layers=2)
        self.out = nn.Linear(dim, 1)

    def forward(self, road_ids):
        h = self.road(road_ids) + self.pos.weight[None, :road_ids.shape[1]]
        return self.out(self.encoder(h).mean(dim=1)).squeeze(1)


class TripTrainer(MiniTrainer):
    def compute_loss(self, model, inputs):
        scaled = (inputs["trip_time"] - 8.0) / 2.0
        return nn.functional.mse_loss(model(inputs["road_ids"]), scaled)


if __name__ == "__main__":
    torch.manual_seed(0)
    args = {"learning_rate": 3e-3, "batch_size": 16, "num_train_epochs": 3}
    trainer = TripTrainer(TripTime(), args, Trips(128, 0), Trips(40, 1))
    trainer.train()
    print(trainer.evaluate())
