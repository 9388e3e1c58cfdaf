"""The networks of a study before they are trained, and the end points of those that were: what
`doctor` says of them.
"""

import copy
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from pipeline.core import checkpoints
from pipeline.core.config import FULL, TrainConfig
from pipeline.core.depth import depths, set_apart
from pipeline.core.finished.final import Int8Dynamic
from pipeline.core.finished.finish import has_views
from pipeline.core.members import each, prefixes
from pipeline.core.pictures import Pictures, cut
from pipeline.core.setup import Inputs, build_model, build_pixels, identity
from pipeline.core.streams import stream, torch_seed
from pipeline.counts import plural
from pipeline.doctor import sanity
from pipeline.doctor.curvature import curvature
from pipeline.doctor.findings import Finding, Level
from pipeline.engine.order import checkpoint_folder
from pipeline.limits import available_bytes, size
from pipeline.record.record import Run

LOSS_TOLERANCE = 1 / 3  # of ln K
LEARNED = 0.25  # of ln K: one batch's loss that shows that the network learns
FAR, TOO_SLOW = 10, 100  # times the suggestion, either way; below it
MIN_BATCH, MAX_BATCH, NUM_BATCHES, STEP_SECONDS = 4, 32, 20, 0.25
OVERFIT_STEPS, RANGE_STEPS, LANCZOS_STEPS = 200, 100, 20
CHECK_SECONDS = 8.0  # for one check of one network
KRYLOV_BYTES = 2**30


@dataclass(frozen=True)
class Patient:
    """A network as it would begin (of an ensemble its first member), with some batches of training
    pictures that its checks can afford.
    """

    config: TrainConfig
    model: nn.Module
    batches: list[tuple[Tensor, Tensor]]
    num_classes: int
    step_seconds: float

    @classmethod
    def of(
        cls,
        config: TrainConfig,
        inputs: Inputs,
        device: torch.device,
        *,
        seed: int,
        pretrained: bool = True,
    ) -> "Patient":
        """Built with the weights of `seed`; the batches are small enough for a step to take
        STEP_SECONDS.
        """
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(torch_seed(seed, "init"))
            (model, *_) = each(build_model(config, inputs, device, pretrained=pretrained))
        pictures = Pictures(inputs.train, device)
        pixels = build_pixels(config, inputs, device, torch.float32)
        order = stream(seed, "order", 1).permutation(len(pictures))

        def batches(num: int, limit: int) -> list[tuple[Tensor, Tensor]]:
            some = order[: num * limit]
            return [
                (pixels(images), labels)
                for _, images, labels in pictures.batches(some, cut(len(some), num))
            ]

        num = min(MIN_BATCH, config.block)
        _step_seconds(model, *batches(num, 1)[0])  # the first step of all is slow
        while (seconds := _step_seconds(model, *batches(num, 1)[0])) < STEP_SECONDS / 2:
            if 2 * num > min(MAX_BATCH, config.block, len(pictures)):
                break
            num *= 2
        return cls(config, model, batches(num, NUM_BATCHES), inputs.num_classes, seconds)

    def optimizer(self, model: nn.Module) -> Optimizer:
        """As a run would begin with it, the head's learning rate of its own included."""
        config = self.config
        made = set_apart(
            config.optimizer.build(model), config.transfer, model, num_classes=self.num_classes
        )
        for group in made.param_groups:
            group["lr"] = config.optimizer.lr * group.get("lr_scale", 1.0)
        return made

    def steps(self, most: int) -> int:
        """How many steps of training a check may take."""
        return max(20, min(most, int(CHECK_SECONDS / self.step_seconds)))


def examine(patient: Patient, num_workers: int) -> Iterator[Finding]:
    """All that can be said of a network before hours are spent on it."""
    yield _parameters(patient)
    yield _initial_loss(patient)
    yield _gradients(patient)
    yield from _learning(patient)
    yield _memory(patient, num_workers)
    yield from _rates(patient)
    yield from _final(patient)


def _parameters(patient: Patient) -> Finding:
    parts = [p.numel() for p in patient.model.parameters()]
    frozen = sum(p.numel() for p in patient.model.parameters() if not p.requires_grad)
    said = plural(sum(parts), "parameter") + (f", {frozen:,} of them frozen" if frozen else "")
    if (num := patient.config.members) > 1:
        said += f" in each of {num} members, of which the first is looked at"
    return Finding(
        "size", f"{said}; checked on batches of {plural(len(patient.batches[0][0]), 'picture')}"
    )


def _initial_loss(patient: Patient) -> Finding:
    losses = [sanity.initial_loss(patient.model, *batch) for batch in patient.batches[:4]]
    loss, expected = sum(losses) / len(losses), math.log(patient.num_classes)
    said = f"{loss:.3f}; a network that knows nothing has ln {patient.num_classes} = {expected:.3f}"
    if not math.isfinite(loss):
        return Finding("initial loss", said, "error")
    far = abs(loss - expected) > LOSS_TOLERANCE * expected
    hint = (
        "; it begins sure of wrong answers: look at the initialisation"
        if far and loss > expected
        else ""
    )
    return Finding("initial loss", said + hint, "warning" if far else "ok")


def _gradients(patient: Patient) -> Finding:
    found = sanity.gradient_norms(patient.model, *patient.batches[0])
    if not found:
        return Finding("gradients", "no layer is trained", "error")
    said = f"first layer {found[0].rms:.1e}, last {found[-1].rms:.1e} (root mean square)"
    flagged = [
        f"{gradient.flag} in {gradient.layer} ({gradient.rms:.1e})"
        for gradient in found
        if gradient.flag
    ]
    more = f" and {plural(len(flagged) - 3, 'more layer')}" if flagged[3:] else ""
    return Finding(
        "gradients", "; ".join([said, *flagged[:3]]) + more, "warning" if flagged else "ok"
    )


def _learning(patient: Patient) -> Iterator[Finding]:
    """One batch by heart, and the learning rate beside what a range test suggests; the two together
    decide.
    """
    build, lr = patient.optimizer, patient.config.optimizer.lr
    losses = sanity.overfit_one_batch(
        patient.model,
        *patient.batches[0],
        build,
        num_steps=patient.steps(OVERFIT_STEPS),
        max_seconds=CHECK_SECONDS,
    )
    num_steps = patient.steps(RANGE_STEPS)
    test = sanity.lr_range_test(
        patient.model, patient.batches, build, num_steps=num_steps, max_seconds=CHECK_SECONDS
    )
    bounded = len(losses) < OVERFIT_STEPS and losses[-1] < 0.9 * losses[0]
    learned = losses[-1] < LEARNED * math.log(patient.num_classes) or bounded
    told = learned or len(losses) == OVERFIT_STEPS or not math.isfinite(losses[-1])
    level: Level = (
        "ok" if learned or not told else "warning" if math.isfinite(losses[-1]) else "error"
    )
    said = f"loss {losses[0]:.3f} to {losses[-1]:.3f} in {plural(len(losses), 'step')} at lr {lr:g}"
    if (scale := patient.config.transfer.head_lr) != 1:
        said += f", the head's {lr * scale:g}"
    if not told:
        said += (
            f": this machine is too slow to tell by {OVERFIT_STEPS} steps in {CHECK_SECONDS:g} s"
        )
    yield Finding(
        "learns one batch", said if learned or not told else f"{said}: it should come near 0", level
    )
    yield _learning_rate(lr, test, num_steps, failed=told and not learned)


def _rates(patient: Patient) -> Iterator[Finding]:
    """Where they differ by depth, which layers begin with which."""
    config = patient.config
    if config.transfer.layer_decay == 1:
        return
    parts = depths(config.transfer, patient.model, num_classes=patient.num_classes)
    said = (
        f"{part.names[0]}{' …' * (len(part.names) > 1)} {config.optimizer.lr * part.scale:.2g}"
        for part in parts
    )
    yield Finding("rates by depth", ", ".join(said))


def _learning_rate(lr: float, test: sanity.RangeTest, num_steps: int, *, failed: bool) -> Finding:
    """A range test is a rough guide: unless a batch could not be learned (`failed`), it alone calls
    no rate wrong, but warns of one that is far from what it suggests.

    One that the clock ended says nothing: its lowest loss is merely its last.
    """
    if len(test.rates) < num_steps and test.blows_up is None:
        steps = (
            f"{len(test.rates)} of {plural(num_steps, 'step')} of a range test in "
            f"{CHECK_SECONDS:g} s"
        )
        return Finding("learning rate", f"{lr:g}; this machine is too slow to tell: {steps}")
    if test.suggestion is None:
        said = (
            f"{lr:g}; in {plural(len(test.rates), 'step')} of a range test no learning rate "
            "lowered the loss"
        )
        return Finding("learning rate", said, "warning" if failed else "ok")
    said = f"{lr:g}; a range test suggests about {test.suggestion:.1e}"
    said += f" and goes wild at {test.blows_up:.1e}" if test.blows_up else ""
    if test.blows_up is not None and lr >= test.blows_up:
        return Finding(
            "learning rate", f"{said}: it is far too high", "error" if failed else "warning"
        )
    if test.lowest is not None and lr > test.lowest and failed:
        return Finding("learning rate", f"{said}: it is too high", "error")
    if lr < test.suggestion / TOO_SLOW:
        return Finding(
            "learning rate", f"{said}: it is so low that little will be learned", "warning"
        )
    # The suggestion is a tenth of what helped most, and far lower for batches of a few pictures: a
    # rate at which the loss still fell is not too high, however far above it is.
    rose = test.lowest is not None and lr > test.lowest
    for times, way in ((test.suggestion / lr, "below"), (lr / test.suggestion, "above")):
        if times > FAR and (way == "below" or rose):
            far = f"it is {times:.0f} times {way} that; try rates between the two"
            return Finding("learning rate", f"{said}: {far}", "warning")
    return Finding("learning rate", said)


def _memory(patient: Patient, num_workers: int) -> Finding:
    """Weights, their average, gradients, the optimizer's state and the activations of (a part of) a
    batch, in fp32.
    """
    config = patient.config
    model = copy.deepcopy(patient.model).train()
    optimizer = config.optimizer.build(model)
    x, labels = (torch.cat([part] * 4)[:4] for part in patient.batches[0])  # it may have but one
    sums = []
    for num in (2, 4):
        with sanity.counted_activations() as sizes:
            loss = functional.cross_entropy(model(x[:num]), labels[:num])
        sums.append(sum(sizes))
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    state = sum(
        t.nbytes for s in optimizer.state.values() for t in s.values() if isinstance(t, Tensor)
    )
    fixed = state + sum(
        p.nbytes * (1 + p.requires_grad + (config.ema > 0)) for p in model.parameters()
    )
    batch = (sums[1] - sums[0]) / 2 * config.block / config.accumulate
    fixed, batch = config.members * fixed, config.members * batch
    total = fixed + batch
    on_gpu = x.is_cuda
    free = torch.cuda.mem_get_info(x.device)[0] if on_gpu else available_bytes()
    parts = f" in {config.accumulate} parts" if config.accumulate > 1 else ""
    blocks = f" in blocks of {config.block}" if config.batch_size == FULL else ""
    said = (
        f"about {size(total)} a run: {size(fixed)} and {size(batch)} of activations at "
        f"batch_size {config.batch_size}{blocks}"
    )
    said += f"{parts}; {size(free)} free"
    if total > free:
        return Finding(
            "memory of a run", f"{said}: use a smaller batch_size, or accumulate", "error"
        )
    too_many = not on_gpu and total * num_workers > free
    hint = f", too little for {plural(num_workers, 'run')}: use fewer --workers" if too_many else ""
    return Finding("memory of a run", said + hint, "warning" if too_many else "ok")


def _final(patient: Patient) -> Iterator[Finding]:
    """What of the final evaluation would change nothing."""
    config, side = patient.config, patient.batches[0][0].shape[-1]
    if config.final.tta and not has_views(config.augment, side):
        yield Finding(
            "final.tta", "changes nothing: the run has no augmentation to draw views by", "warning"
        )
    has_linear = any(type(module) is nn.Linear for module in patient.model.modules())
    if isinstance(config.final.compress, Int8Dynamic) and not has_linear:
        yield Finding(
            "final.compress",
            "int8_dynamic changes nothing: the network has no linear layer",
            "warning",
        )


def end_point(run: Run, study_folder: Path, inputs: Inputs, device: torch.device) -> Finding:
    """The curvature at a finished run's best weights, on training pictures. Nothing on the disk is
    touched.
    """
    config = TrainConfig.parse(run.config, source=f"run {run.key}")
    *_, newest = checkpoints.epochs(checkpoint_folder(study_folder, run.key))
    seed = json.loads((newest / checkpoints.META).read_text(encoding="utf-8"))["identity"]["seed"]
    found = checkpoints.read(newest, identity(config, seed))
    patient = Patient.of(config, inputs, device, seed=seed, pretrained=False)
    first = prefixes(config.members)[0]
    state = {name: value for name, value in found.best().items() if name.startswith(first)}
    patient.model.load_state_dict({name.removeprefix(first): t for name, t in state.items()})
    num_bytes = sum(p.nbytes for p in patient.model.parameters()) * LANCZOS_STEPS
    if num_bytes > KRYLOV_BYTES:
        return Finding(
            run.arm, f"not computed: {LANCZOS_STEPS} Lanczos vectors would take {size(num_bytes)}"
        )
    x, labels = (torch.cat(parts) for parts in zip(*patient.batches[:4], strict=True))
    return Finding(run.arm, curvature(patient.model, x, labels, num_steps=LANCZOS_STEPS).verdict)


def _step_seconds(model: nn.Module, x: Tensor, labels: Tensor) -> float:
    begin = time.monotonic()
    sanity.gradient_norms(model, x, labels)
    return max(time.monotonic() - begin, 1e-4)
