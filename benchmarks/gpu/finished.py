"""A check of what is done with a finished model, and one of what a step waits for."""

import warnings
from collections import Counter
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.bench import Bench, Facts, Wrong
from benchmarks.gpu.runs import NUM_CLASSES, SMALL, inputs_of, loop_of, variants
from pipeline.core.config import TrainConfig
from pipeline.core.finished.embed import embeddings
from pipeline.core.finished.final import COMPRESSIONS
from pipeline.core.finished.finish import finish
from pipeline.core.objective import Teacher
from pipeline.core.pictures import Pictures
from pipeline.core.setup import Inputs, build_model
from pipeline.doctor.curvature import curvature

VIEWS = 2
STEPS = 16  # of an epoch in which waits are counted
BATCH = 8


def final(bench: Bench) -> Facts:
    """A finished model is compressed in every way and judged; its layers and its curvature too."""
    inputs, losses = inputs_of(64, 64), {}
    num_pictures = 16
    for member in COMPRESSIONS:
        for name, knobs in variants("final.compress", member):
            config = SMALL.override({"augment.strength": 1.0, "final.tta": VIEWS, **knobs})
            loop, pictures = loop_of(bench, config, inputs)
            val = Pictures(inputs.val, bench.where)
            done = finish(config, loop.model, val, pictures, loop.pixels, seed=0)
            losses[name] = done.facts["loss"]
            if not np.isfinite(losses[name]):
                raise Wrong(f"{name}: loss {losses[name]}")
    layers = embeddings(done.model, done.pictures, done.pixels)
    if len(layers) != 2:
        raise Wrong(f"a middle and a top layer are expected, got {len(layers)} embedded")
    images = torch.from_numpy(inputs.train.images[:num_pictures].copy()).to(bench.where)
    labels = torch.arange(num_pictures, device=bench.where) % NUM_CLASSES
    seen = curvature(loop.model, loop.pixels(images), labels, num_steps=5)
    return {"losses": losses, "top_eigenvalue": seen.extremes.top}


WAITING: dict[str, dict[str, Any]] = {
    "plain": {},
    "augmented": {"augment.name": "trivial", "augment.strength": 1.0},
    "ema": {"ema": 0.9},
    "distill": {"distill.teacher": "teacher.safetensors"},
    "adversary": {"adversary.epsilon": 0.02},
}


def syncs(bench: Bench) -> Facts:
    """Nothing in a step waits for the device, as the loop says."""
    bench.need_gpus(1)
    inputs = inputs_of(STEPS * BATCH, 64)
    found, places = {}, Counter[str]()
    for name, knobs in WAITING.items():
        seen = waits(bench, SMALL.override({"batch_size": BATCH, **knobs}), inputs)
        found[name] = sum(seen.values()) / STEPS
        places += seen
    bench.info("syncs", waits_per_step=found, places=dict(places.most_common(5)))
    if bad := [name for name, count in found.items() if count >= 1]:
        raise Wrong(f"the host waits for the device in every step: {', '.join(bad)}")
    return {"most_per_step": max(found.values())}


def waits(bench: Bench, config: TrainConfig, inputs: Inputs) -> Counter[str]:
    """Line of the code → how often the host waited for the device there in the second epoch."""
    teacher = None
    if config.distill.teacher:
        model = build_model(config, inputs, bench.where, pretrained=False).eval()
        teacher = Teacher(model, inputs.mean, inputs.std)
    loop, pictures = loop_of(bench, config, inputs, teacher)
    loop.run_epoch(1, pictures, STEPS, [])
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            loop.run_epoch(2, pictures, STEPS, [])
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return Counter(f"{w.filename}:{w.lineno}" for w in seen if "synchroniz" in str(w.message))
