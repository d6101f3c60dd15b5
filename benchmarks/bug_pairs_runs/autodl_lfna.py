"""Run the project's own script that pre-trains LFNA on its synthetic environment and adapts it online, in small.

fix: c5788ba1
depth: live 60
expects: -
where: program
stands in: torchvision (imported, but not used here)
"""

import functools
import runpy
import sys
import tempfile

from stand_ins import HERE, stand_in

stand_in("torchvision")
stand_in("torchvision.datasets")
stand_in("torchvision.transforms")
from xautodl.datasets import synthetic_core

synthetic_core.get_synthetic_env = functools.partial(
    synthetic_core.get_synthetic_env, total_timestamp=30, num_per_task=100
)
sys.path.insert(0, str(HERE / "exps/LFNA"))
script = str(HERE / "exps/LFNA/lfna.py")
arguments = "--env_version v1 --workers 0 --epochs 30 --meta_batch 16 --refine_epochs 40 --rand_seed 1 --save_dir"
sys.argv = [script, *arguments.split(), tempfile.mkdtemp() + "/lfna"]
runpy.run_path(script, run_name="__main__")
