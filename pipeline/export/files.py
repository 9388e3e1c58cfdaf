"""A recorded run made ready to be handed on: its files, in memory."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from pipeline.core import checkpoints
from pipeline.core.config import TrainConfig
from pipeline.core.finished import artifact
from pipeline.core.identity import Identity, Seeds
from pipeline.core.parts import parts_of
from pipeline.core.pictures import Pictures, evenly
from pipeline.core.setup import Inputs, build_model, build_pixels
from pipeline.counts import plural
from pipeline.data.cache import Data
from pipeline.data.splits import Splits
from pipeline.engine.order import checkpoint_folder
from pipeline.errors import UserError, printable
from pipeline.export.caveats import caveats
from pipeline.export.classify import classify
from pipeline.export.loading import ONNX
from pipeline.export.model_card import CARD, CONFIG, MODEL, OURS, Facts, card, config_json
from pipeline.export.onnx import TOLERANCE, Unexportable, compare, to_onnx
from pipeline.export.predictions import Form, Unlabeled, said, table
from pipeline.export.selection import Selection
from pipeline.record.published import Cutter, cutter, published
from pipeline.record.record import Record
from pipeline.session.resume import changed_since

SHOWN, CHECKED = 10, 256  # pictures that are named; that torch and onnxruntime are compared on


class Handover:
    """Files of the selected run. `problem`: why there is no ONNX file though one was wanted;
    `warnings`: what to know.
    """

    def __init__(self, record: Record, selection: Selection, study_folder: Path) -> None:
        """Raises UserError where the run's model file is missing or damaged, or the code of its
        network has changed.
        """
        self.record, self.selection = record, selection
        run = selection.run
        self.config = TrainConfig.parse(run.config, source=f"run {run.key}")
        self.seeds = Seeds(record.study.search.seed, run.replicate)
        self.folder = checkpoint_folder(study_folder, run.key)
        self.checkpoint = self._checkpoint()
        self.model_file = self.checkpoint.folder / checkpoints.BEST
        self.artifact, _ = artifact.read(str(self.model_file), key="export")
        self.problem = ""
        self.lines: list[str] = []
        self.caveats = caveats(record, selection)
        self.warnings: list[str] = []
        self._require_code()

    def files(self, data: Data, *, with_onnx: bool) -> dict[str, bytes]:
        """Name → content, without the predictions."""
        parts = self._splits(data)
        cut = cutter(self.record)
        config = TrainConfig.parse(
            cut.tree(self.artifact.config.model_dump(mode="json")),
            source=printable(self.model_file),
        )
        files = {MODEL: anonymous(self.model_file.read_bytes(), cut)}
        if with_onnx:
            content = self._onnx(parts)
            if content is not None:
                files[ONNX] = content
        own = dataclasses.replace(self.artifact, config=config)
        sizes, cautions = (len(parts.train), len(parts.val)), tuple(map(cut.text, self.caveats))
        facts = Facts(published(self.record), self.selection, own, *sizes, ONNX in files, cautions)
        return files | {
            CONFIG: config_json(facts).encode(),
            CARD: card(facts).encode("utf-8", "replace"),
        }

    def predictions(
        self,
        data: Data,
        wanted: Unlabeled,
        form: Form,
        *,
        device: str,
        names: bool,
        probabilities: bool,
    ) -> str:
        """The CSV, by the model as it was judged; unreadable pictures get the most frequent class
        of the training part.
        """
        classes, scores = self._classify(data, wanted, device)
        labels = [printable(name) for name in (data.classes if names else data.written)]
        bad = wanted.unreadable
        if bad:
            train = self._splits(data).train
            usual = int(np.bincount(train.labels[train.index]).argmax())
            classes |= dict.fromkeys(bad, usual)
            shown = [f"{printable(file)} ({reason})" for file, reason in list(bad.items())[:SHOWN]]
            more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
            self.warnings.append(
                f"{len(bad):,} of {plural(len(classes), 'picture')} cannot be read and "
                f"{'is' if len(bad) == 1 else 'are'} given the label '{labels[usual]}', the most "
                f"frequent in training, a guess: {', '.join(shown)}{more}"
            )
        used = len(set(classes.values()))
        self.lines.append(
            f"predictions of {plural(len(classes), 'picture')}; classes they use: {used}"
        )
        self.lines.append(said(form, data, names=names))
        by_file = {file: labels[label] for file, label in classes.items()}
        return table(form, by_file, scores if probabilities else {}, labels)

    def _classify(
        self, data: Data, wanted: Unlabeled, device: str
    ) -> tuple[dict[str, int], dict[str, list[float]]]:
        """Of every picture that can be read its class and the probability of each."""
        where, parts, config = torch.device(device), self._splits(data), self.config
        inputs = Inputs.of(data, parts)
        with torch.random.fork_rng(devices=[]):
            model = build_model(config, inputs, where, pretrained=False)
        try:
            model.load_state_dict(self.checkpoint.best())
        except RuntimeError as error:
            raise UserError(
                f"export: {printable(self.model_file)}: does not fit its network "
                f"({printable(error)})"
            ) from error
        pixels = build_pixels(config, inputs, where, torch.float32)
        found, scores = classify(
            config, model, wanted.split, Pictures(parts.train, where), pixels, seed=self.seeds.run
        )
        return dict(zip(wanted.files, found.tolist(), strict=True)), dict(
            zip(wanted.files, scores.tolist(), strict=True)
        )

    def summary(self, target: Path, files: Mapping[str, bytes]) -> list[str]:
        """What was done, for the screen."""
        run = self.selection.run
        values = [
            f"{name} {value:.4f}"
            for name in (run.selects, run.selects.replace("val_", "test_", 1))
            if (value := run.metric(name)) is not None
        ]
        lines = [
            f"{self.selection.title}: {', '.join(values)} (of its best epoch)",
            f"chosen thus: {self.selection.why}",
        ]
        if not self.config.final.is_plain:
            lines.append(
                "model files: the weights as trained, in fp32; predictions: as judged, compressed "
                "and by views"
            )
        lines += self.lines
        lines += [f"warning: {self.problem}"] if self.problem else []
        lines += [f"warning: {text}" for text in (*self.caveats, *self.warnings[:20])]
        lines += [f"warning: {len(self.warnings) - 20} more"] if len(self.warnings) > 20 else []
        return [
            *lines,
            *(
                f"{printable(target / name, 1000)}  ({len(files[name]):,} bytes)"
                for name in OURS
                if name in files
            ),
        ]

    def _require_code(self) -> None:
        """Weights in another network would be another model; what else changed is said."""
        run = self.selection.run
        if files := changed_since(self.record, [run], part="model "):
            raise UserError(
                f"{self.selection.title}: the code of its network has changed since it was trained "
                f"({printable(', '.join(files), 500)}), which would be another model: take the "
                "change back to export it"
            )
        if files := changed_since(self.record, [run]):
            shown = printable(", ".join(files), 500)
            self.warnings.append(
                f"code changed since the model was trained, so predictions may differ: {shown}"
            )

    def _splits(self, data: Data) -> Splits:
        return parts_of(self.config, data, self.seeds)

    def _checkpoint(self) -> checkpoints.Checkpoint:
        run = self.selection.run
        version = run.core_version or self.record.header.core_version
        identity = Identity(self.config, self.seeds.run, version)
        reasons = []
        for folder in reversed(checkpoints.epochs(self.folder)):
            try:
                return checkpoints.read(folder, identity)
            except (UserError, OSError, *checkpoints.DAMAGED) as error:
                reasons.append(f"{folder.name}: {printable(error)}")
        arms = (r for runs in self.record.arms().values() for r in runs)
        have = [
            r
            for r in (*arms, *self.record.trials())
            if checkpoints.epochs(self.folder.with_name(r.key)) and r.key != run.key
        ]
        others = ", ".join(
            sorted(
                {
                    f"--arm '{printable(r.arm)}'" if r.kind == "arm" else f"--trial {r.number}"
                    for r in have
                }
            )[:6]
        )
        raise UserError(
            f"{self.selection.title}: no sound model file in {printable(self.folder)} "
            f"({'; '.join(reasons) or 'not there'}); put the folder back from where the study ran, "
            f"or train the study anew with --fresh; there are files of: {others or 'no run'}"
        )

    def _onnx(self, parts: Splits) -> bytes | None:
        """The file, where it agrees with torch on pictures of the test part (of validation without
        one).
        """
        own, model = artifact.load(str(self.model_file), key="export", device=torch.device("cpu"))
        split = parts.val if parts.test is None else parts.test
        rows = split.index[evenly(len(split), CHECKED)]
        try:
            content = to_onnx(
                own, model, [printable(name, 200) for name in self.record.data["classes"]]
            )
            found = compare(content, own, model, np.asarray(split.images[rows]))
        except Unexportable as error:
            self.problem = f"model.onnx is not written: {error}"
            return None
        num = plural(found.num_pictures, "picture")
        close = f"on {num} its probabilities differ from torch's by at most {found.difference:.1e}"
        if not found.holds:
            others = plural(found.num_flipped, "answer is another", "answers are others")
            self.problem = (
                f"model.onnx is not written: {close} (allowed: {TOLERANCE:g}), and {others}"
            )
            return None
        self.lines.append(f"model.onnx: {close}")
        return content


def anonymous(content: bytes, cut: Cutter) -> bytes:
    """A model file whose header names no folder of the machine that it was trained on; its weights
    are the same bytes.
    """
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    about = header["__metadata__"]
    then = json.loads(about["config"])
    now = cut.tree(then)
    if now == then:
        return content
    header["__metadata__"] = about | {"config": json.dumps(now, separators=(",", ":"))}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # weights begin at a multiple of eight
    return len(text).to_bytes(8, "little") + text + content[8 + length :]
