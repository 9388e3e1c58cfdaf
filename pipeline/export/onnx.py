"""A finished model as an ONNX file, and whether onnxruntime gives the same answers as torch."""

import importlib.util
import io
import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pipeline.core.augmentation.pixels import Pixels
from pipeline.core.finished.artifact import Artifact
from pipeline.errors import UserError, printable

OPSET = 17
TOLERANCE = 1e-4  # the largest difference of a probability, in fp32
INPUT, OUTPUT = "pixels", "logits"
BATCH = 32
NEEDED = ("onnx", "onnxruntime")


class Unexportable(Exception):
    """The network has no ONNX file; the message is the reason."""


@dataclass(frozen=True)
class Agreement:
    """torch's and onnxruntime's answers on `num_pictures`: the largest difference of a probability,
    how many answers differ where torch's two largest probabilities are further apart than rounding
    explains."""

    num_pictures: int
    difference: float
    num_flipped: int

    @property
    def holds(self) -> bool:
        return self.difference <= TOLERANCE and self.num_flipped == 0  # NaN is no agreement


class Graph(nn.Module):
    """uint8 [B, C, S, S], as decoded -> logits float32 [B, K]: normalisation is part of the
    file.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, artifact: Artifact, model: nn.Module) -> None:
        super().__init__()
        pixels = Pixels(artifact.mean, artifact.std, device=torch.device("cpu"))
        self.register_buffer("scale", pixels.scale[None])
        self.register_buffer("shift", pixels.shift[None])
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.model(pixels.to(torch.float32) * self.scale + self.shift)
        return logits


class Mean(nn.Module):
    """Several graphs as one: of the same pictures the logits whose softmax is the mean of their
    probabilities.
    """

    def __init__(self, graphs: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(graphs)

    def forward(self, pixels: Tensor) -> Tensor:
        mean = torch.stack([member(pixels).softmax(1) for member in self.members]).mean(0)
        return mean.clamp_min(torch.finfo(mean.dtype).tiny).log()


def require_packages() -> None:
    """Raise UserError where what writes and checks ONNX files is not installed."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"model.onnx: needs {' and '.join(missing)}, which is not installed: python -m pip "
            "install '.[onnx]'; or leave the file out with --no-onnx"
        )


def to_onnx(artifact: Artifact, graph: nn.Module, classes: Sequence[str]) -> bytes:
    """The file: input "pixels" uint8 [batch, C, S, S], output "logits" [batch, K], any batch;
    `classes` in its metadata.

    `graph`, of pictures as `artifact` says, is on the CPU in eval mode, with fp32 weights. Written
    by torch's tracing exporter, which needs no package beside onnx. Raises Unexportable where an
    operation has no counterpart in ONNX or the file would exceed its 2 GiB.
    """
    import onnx

    buffer = io.BytesIO()
    shape = (2, artifact.channels, artifact.size, artifact.size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it traces, and that newer ways need another package
        try:
            torch.onnx.export(
                graph.eval(),
                (torch.zeros(shape, dtype=torch.uint8),),
                buffer,  # type: ignore[arg-type]  # a path only in the annotation
                dynamo=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}},
            )
            proto = onnx.load_model_from_string(buffer.getvalue())
            onnx.helper.set_model_props(proto, {"classes": json.dumps(list(classes))})
            onnx.checker.check_model(proto)
        except Exception as error:  # the exporter raises nearly anything
            first = str(error).strip().partition("\n")[0]
            raise Unexportable(f"{type(error).__name__}: {printable(first)}") from error
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def compare(content: bytes, graph: nn.Module, images: npt.NDArray[np.uint8]) -> Agreement:
    """Both run on the CPU on the same uint8 `images` [N, C, S, S], batch by batch."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    difference, num_flipped = 0.0, 0
    for batch in _batches(images):
        with torch.inference_mode():
            own = graph(torch.from_numpy(batch)).softmax(1)
        other = torch.from_numpy(session.run([OUTPUT], {INPUT: batch})[0]).softmax(1)
        apart = (own - other).abs().max().item()
        difference = apart if not apart <= difference else difference  # NaN stays
        top = own.topk(2, 1).values
        tied = top[:, 0] - top[:, 1] <= 2 * TOLERANCE
        num_flipped += int(((own.argmax(1) != other.argmax(1)) & ~tied).sum())
    return Agreement(len(images), difference, num_flipped)


def _batches(images: npt.NDArray[np.uint8]) -> Iterable[npt.NDArray[np.uint8]]:
    for start in range(0, len(images), BATCH):
        yield np.array(images[start : start + BATCH])
