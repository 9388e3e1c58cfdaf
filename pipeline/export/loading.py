"""Loading: the code that makes a model that was handed on answer, as its card shows it."""

from collections.abc import Sequence

from pipeline.core.finished.artifact import Artifact
from pipeline.data.listing import FULL_DEPTH
from pipeline.export.onnx import TOLERANCE
from pipeline.own.parts import file_of, own_parts

ONNX = "model.onnx"
WITH_PIPELINE = """from pathlib import Path

import torch

from pipeline.core.finished.artifact import load
from pipeline.core.augmentation.pixels import Pixels
from pipeline.data.decode import read_picture{imports}

artifact, model = load("model.safetensors", key="model", device=torch.device("cpu"))
picture = read_picture(Path("picture.jpg"), artifact.size, artifact.channels{reading}).pixels
pixels = Pixels(artifact.mean, artifact.std, device=torch.device("cpu"))
with torch.inference_mode():
    probs = model(pixels(torch.from_numpy(picture)[None])).softmax(1)[0]
print(int(probs.argmax()))"""
AVERAGED = """from pathlib import Path

import torch

from pipeline.core.finished.artifact import load
from pipeline.core.augmentation.pixels import Pixels
from pipeline.data.decode import read_picture{imports}

answers = []
for path in sorted(Path().glob("model-*.safetensors")):
    artifact, model = load(str(path), key="model", device=torch.device("cpu"))
    picture = read_picture(Path("picture.jpg"), artifact.size, artifact.channels{reading}).pixels
    pixels = Pixels(artifact.mean, artifact.std, device=torch.device("cpu"))
    with torch.inference_mode():
        answers.append(model(pixels(torch.from_numpy(picture)[None])).softmax(1)[0])
probs = torch.stack(answers).mean(0)
print(int(probs.argmax()))"""
WITH_ONNX = """import json

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

about = json.load(open("config.json", encoding="utf-8"))
side = about["pictures"]["size"]
picture = ImageOps.exif_transpose(Image.open("picture.jpg")).convert("{mode}")
picture = picture.resize((side, side), Image.Resampling.BILINEAR)
pixels = np.atleast_3d(np.asarray(picture, dtype=np.uint8)).transpose(2, 0, 1)[None]  # [1, C, H, W]
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
logits = session.run(["logits"], {{"pixels": pixels}})[0][0]
print(about["classes"][int(logits.argmax())])"""


def loading(artifacts: Sequence[Artifact], white: int, *, with_onnx: bool) -> str:
    """A section of the card, of one model or of several that are averaged; `white`: the value that
    pictures of 16 bits have white at.
    """
    artifact, averaged = artifacts[0], len(artifacts) > 1
    reading = f", reading=Reading(top={white})" if white < FULL_DEPTH else ""
    imports = "\nfrom pipeline.data.listing import Reading" if reading else ""
    code = (AVERAGED if averaged else WITH_PIPELINE).format(reading=reading, imports=imports)
    needed = dict.fromkeys(
        f"`{type(part).__part__}` ({file_of(part)})"  # type: ignore[attr-defined]
        for one in artifacts
        for path, part in own_parts(one.config)
        if path != "dataset"
    )
    blocks = [
        f"With this project's code (`pipeline`), from within this folder:\n\n```python\n{code}\n```"
    ]
    if needed:
        blocks.append(
            ("Each model file" if averaged else "`model.safetensors`")
            + " names parts that are not this project's own, and cannot be loaded without their "
            "code, whose folder must be on the import path (`PYTHONPATH`): "
            f"{', '.join(needed)}."
        )
    if with_onnx:
        of_mean = ", whose softmax is the mean of the members' probabilities" * averaged
        mode = "L" if artifact.channels == 1 else "RGB"
        code = WITH_ONNX.format(mode=mode)
        blocks.append(
            f"Without it: `{ONNX}` takes uint8 pictures [batch, {artifact.channels}, "
            f"{artifact.size}, {artifact.size}] and gives logits{of_mean}; its "
            f"probabilities were within {TOLERANCE:g} of torch's on pictures of the study.\n\n"
            f"```python\n{code}\n```"
        )
    return "\n\n".join(blocks)
