"""What a tape says: memory, FLOPs, bytes, modules, lines. Pure; never imports torch."""

from trainworthy.inspect.advice import Advice, advise
from trainworthy.inspect.allocator import CachingAllocator
from trainworthy.inspect.cluster import ClusterResult
from trainworthy.inspect.compare import Change, Comparison, compare_results
from trainworthy.inspect.memory_kinds import MEANINGS, by_group
from trainworthy.inspect.ranks import summarize_ranks
from trainworthy.inspect.receptive_field import LayerField, receptive_fields
from trainworthy.inspect.replay import Replay, replay
from trainworthy.inspect.result import RehearsalResult
from trainworthy.inspect.summary import summarize
from trainworthy.inspect.tree import ModuleRow, module_tree

__all__ = [
    "MEANINGS",
    "Advice",
    "CachingAllocator",
    "Change",
    "ClusterResult",
    "Comparison",
    "LayerField",
    "ModuleRow",
    "RehearsalResult",
    "Replay",
    "advise",
    "by_group",
    "compare_results",
    "module_tree",
    "receptive_fields",
    "replay",
    "summarize",
    "summarize_ranks",
]
