"""Detect objects in several pictures with the network that the project builds from a configuration of Darknet.

fix: 3321f558
depth: live 60
expects: TW703
where: tool/torch_utils.py
stands in: imghdr, which Python no longer has
"""

import numpy as np
from stand_ins import stand_in

stand_in("imghdr")
from tool.darknet2pytorch import Darknet
from tool.torch_utils import do_detect
from tool.utils import load_class_names

use_cuda = False
model = Darknet("cfg/yolov4-tiny.cfg")
model.print_network()
class_names = load_class_names("data/coco.names")

for number in range(6):
    picture = np.random.randint(0, 256, (model.height, model.width, 3), dtype=np.uint8)
    boxes = do_detect(model, picture, 0.4, 0.6, use_cuda)
    found = [class_names[int(box[6])] for box in boxes[0]]
    print(f"picture {number}: {len(found)} objects, {sorted(set(found))[:5]}")
