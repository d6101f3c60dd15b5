import torch

torch.manual_seed(0)

# n-step TD prediction on a random walk, linear values
N_STATES, N_STEP, GAMMA, LR = 9, 4, 0.9, 0.05

discounts = GAMMA ** torch.range(start=0, end=N_STEP)  # BUG
# FIX: discounts = GAMMA ** torch.arange(start=0, end=N_STEP)
values = torch.zeros(N_STATES, requires_grad=True)
opt = torch.optim.SGD([values], lr=LR)


def walk(length):
    s, states, rewards = N_STATES // 2, [], []
    for _ in range(length):
        states.append(s)
        move = 1 if torch.rand(()) < 0.6 else -1
        s = min(max(s + move, 0), N_STATES - 1)
        rewards.append(1.0 if s == N_STATES - 1 else 0.0)
    states.append(s)
    return torch.tensor(states), torch.tensor(rewards)


for episode in range(60):
    states, rewards = walk(30)
    span = len(discounts)
    # windows of rewards, (steps, span); the last ones are dropped
    windows = rewards.unfold(0, span, 1)
    n_step_return = (windows * discounts).sum(dim=1)
    starts = torch.arange(len(windows))
    with torch.no_grad():
        tail = values[states[starts + N_STEP]]
    target = n_step_return + GAMMA ** N_STEP * tail
    loss = (values[states[starts]] - target).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    if episode % 20 == 0:
        print(episode, loss.item())

print("state values", [round(v, 2) for v in values.tolist()])
