"""Run the project's run_model.py for DeepMove, on invented check-ins in the project's cache of cut trajectories.

fix: 60d31d98
depth: live 60
expects: TW555
where: trafficdl/data/utils.py
stands in: pandas and geopy (the table of places and their distances, which DeepMove does not use)
"""

import json
import random
import runpy
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

from stand_ins import HERE, stand_in

PLACES, HOURS, USERS = 60, 72, 9


def session(favorites):
    hours = sorted(random.sample(range(HOURS), random.randint(5, 14)))
    return [[random.choice(favorites), hour] for hour in hours]


random.seed(0)
trajectories = {}
for user in range(USERS):
    favorites = random.sample(range(PLACES), 8)
    trajectories[str(user)] = [session(favorites) for _ in range(random.randint(6, 12))]

cache = Path("trafficdl/cache/dataset_cache/trajectory__foursquare_tky_5_2_72.json")
cache.parent.mkdir(parents=True, exist_ok=True)
sizes = {"loc_size": PLACES + 1, "tim_size": HOURS + 1, "uid_size": USERS}
cache.write_text(json.dumps({**sizes, "data": trajectories}))
for folder in ("trafficdl/cache/model_cache", "trafficdl/cache/evaluate_cache", "raw_data/foursquare_tky"):
    Path(folder).mkdir(parents=True, exist_ok=True)
Path("raw_data/foursquare_tky/config.json").write_text(json.dumps({"extra": {"distance_upper": 30.0}}))
small = {"loc_emb_size": 24, "tim_emb_size": 8, "hidden_size": 32, "verbose": 2}
Path("small.json").write_text(json.dumps(small))

stand_in("pandas", read_csv=lambda path: None).__spec__ = ModuleSpec("pandas", None)
stand_in("geopy")
script = str(HERE / "run_model.py")
sys.argv = [script, "--config_file", "small", "--gpu", "no", "--batch_size", "10", "--max_epoch", "3"]
runpy.run_path(script, run_name="__main__")
