"""Train the AlphaGo Zero style network for connect four with the book's script.

fix: b6a0961c
depth: live 60
expects: TW101
where: ch18/train.py
stands in: ptan, tensorboardX, games by tree search (here by random moves); numbers as arrays of one, as numpy() gave then
"""

import os
import random
import runpy
import sys
import tempfile
from types import SimpleNamespace

import numpy as np
import torch
from stand_ins import stand_in

sys.path.insert(0, os.path.abspath("ch18"))
to_numpy = torch.Tensor.numpy
torch.Tensor.numpy = lambda self: np.atleast_1d(to_numpy(self))
STEPS = 5


class Tracker:
    def __init__(self, writer, batch_size):
        self.trained = 0

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def track(self, name, value, step):
        if name.startswith("loss"):
            print(f"{name} {value:.4f}")
            self.trained += name == "loss_policy"
        if self.trained == STEPS:
            raise SystemExit(0)


class TargetNet:
    def __init__(self, model):
        self.target_model = model


stand_in("tensorboardX")
stand_in("ptan", agent=SimpleNamespace(TargetNet=TargetNet))
sys.modules["ptan"].common = SimpleNamespace(utils=SimpleNamespace(TBMeanTracker=Tracker))

from lib import game, model


def play_game(mcts_stores, replay_buffer, *args, **kwargs):
    """Random games; a move that wins at once is preferred, and the policy to learn says so."""
    while len(replay_buffer) < 2000:
        state, player, history, result = game.INITIAL_STATE, np.random.choice(2), [], None
        while result is None:
            moves = game.possible_moves(state)
            winning = [move for move in moves if game.move(state, move, player)[1]] or moves
            probs = [float(move in winning) / len(winning) for move in range(game.GAME_COLS)]
            history.append((state, player, probs))
            state, won = game.move(state, np.random.choice(game.GAME_COLS, p=probs), player)
            result = 1 if won else 0 if not game.possible_moves(state) else None
            player = 1 - player
        for state, player, probs in reversed(history):
            replay_buffer.append((state, player, probs, result))
            result = -result
    return 0, 1


model.play_game, model.NUM_FILTERS = play_game, 16
random.seed(1)
np.random.seed(1)
torch.manual_seed(1)
train = os.path.abspath("ch18/train.py")
os.chdir(tempfile.mkdtemp())
sys.argv = ["train.py", "--name", "small"]
runpy.run_path(train, run_name="__main__")
