"""Train TD3 from a replay memory of random transitions with the project's own train().

fix: 7baf9510
depth: rehearse
expects: -
where: TD3.py
stands in: Variable's volatile, which torch dropped
"""

import numpy as np
import torch
from stand_ins import stand_in


def Variable(tensor, requires_grad=False, volatile=False):
    return tensor


torch.autograd.Variable = Variable
stand_in("utils")
import TD3


class Memory:
    def sample(self, size):
        return tuple(np.random.randn(size, n) for n in (6, 6, 3, 1, 1))


TD3.TD3(state_dim=6, action_dim=3, max_action=1.0).train(Memory(), iterations=8, batch_size=16)
