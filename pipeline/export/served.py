"""A registered model as MLflow loads it: the files of an export, answering pictures. MLflow calls
`_load_pyfunc` with the folder that they lie in.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.core.augmentation.pixels import Pixels
from pipeline.core.finished.artifact import load
from pipeline.data.decode import read_picture
from pipeline.data.listing import BadPicture, Reading
from pipeline.errors import UserError
from pipeline.export.delivery import CONFIG

if TYPE_CHECKING:
    import pandas as pd

PICTURE = (
    "picture"  # the column of a request: the bytes of a file, JPEG or PNG or what else is read
)
BATCH = 64


class Served:
    """What answers: the model, or the mean of several, of the files as they are, on the CPU."""

    def __init__(self, folder: Path) -> None:
        about = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        self.classes: list[str] = about["classes"]
        self._reading = Reading(top=about["pictures"]["white_of_16_bits"])
        device = torch.device("cpu")
        files = sorted(folder.glob("model*.safetensors"))
        self._models = [load(str(file), key=file.name, device=device) for file in files]
        self._artifact = self._models[0][0]
        self._pixels = Pixels(self._artifact.mean, self._artifact.std, device=device)

    def predict(self, asked: "pd.DataFrame", params: dict[str, Any] | None = None) -> Any:
        """A row of probabilities for each picture, a column for each class. Raises UserError where
        a picture cannot be read.
        """
        import pandas as pd

        del params  # MLflow hands them over; there are none
        found = list(self._answers(list(asked[PICTURE])))
        rows = np.concatenate(found) if found else np.empty((0, len(self.classes)))
        return pd.DataFrame(rows.astype(np.float64), columns=self.classes, index=asked.index)

    def _answers(self, pictures: Sequence[bytes]) -> Iterator[npt.NDArray[np.float32]]:
        for start in range(0, len(pictures), BATCH):
            several = enumerate(pictures[start : start + BATCH], start)
            images = np.stack([self._read(number, content) for number, content in several])
            with torch.inference_mode():
                pixels = self._pixels(torch.from_numpy(images))
                every = [model(pixels).softmax(1) for _, model in self._models]
                yield torch.stack(every).mean(0).numpy()

    def _read(self, number: int, content: bytes) -> npt.NDArray[np.uint8]:
        own = self._artifact
        try:
            return read_picture(content, own.size, own.channels, reading=self._reading).pixels
        except BadPicture as bad:
            raise UserError(f"{PICTURE} {number}: cannot be read: {bad}") from bad


def _load_pyfunc(path: str) -> Served:
    return Served(Path(path))
