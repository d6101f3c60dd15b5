# fitted Q-learning on random MDP transitions, with callbacks
import torch
from torch import nn

torch.manual_seed(0)
S, A = 8, 3
P = torch.softmax(3 * torch.randn(S, A, S), -1)
R = 5 * torch.randn(S, A)


class Callback:
    def after_backward(self, learner):
        pass

    def after_step(self, learner):
        pass


class ClipGradients(Callback):
    def __init__(self, limit):
        self.limit = limit

    def after_step(self, learner):  # BUG
    # FIX: def after_backward(self, learner):
        nn.utils.clip_grad_value_(learner.net.parameters(), self.limit)  # BUG


class Progress(Callback):
    def __init__(self):
        self.count = 0

    def after_step(self, learner):
        self.count += 1
        if self.count % 25 == 0:
            print("update", self.count, "td loss", round(learner.loss.item(), 3))


class Learner:
    def __init__(self, net, callbacks, lr=0.02, gamma=0.9):
        self.net, self.callbacks, self.gamma = net, callbacks, gamma
        self.target = nn.Linear(S, A)
        self.target.load_state_dict(net.state_dict())
        self.target.requires_grad_(False)
        self.opt = torch.optim.SGD(net.parameters(), lr=lr)

    def call(self, event):
        for cb in self.callbacks:
            getattr(cb, event)(self)

    def update(self, s, a, r, s2):
        eye = torch.eye(S)
        q = self.net(eye[s]).gather(1, a[:, None]).squeeze(1)
        goal = r + self.gamma * self.target(eye[s2]).max(1).values
        self.loss = nn.functional.mse_loss(q, goal)
        self.opt.zero_grad()
        self.loss.backward()
        self.call("after_backward")
        self.opt.step()
        self.call("after_step")


learner = Learner(nn.Linear(S, A), [ClipGradients(0.1), Progress()])
for it in range(100):
    s, a = torch.randint(S, (64,)), torch.randint(A, (64,))
    s2 = torch.multinomial(P[s, a], 1).squeeze(1)
    learner.update(s, a, R[s, a], s2)
    if it % 20 == 19:
        learner.target.load_state_dict(learner.net.state_dict())
