"""A recorded run made ready to be handed on: its files, in memory."""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pipeline.core import checkpoints
from pipeline.core.config import TrainConfig
from pipeline.core.finished import artifact
from pipeline.core.finished.final import Final
from pipeline.core.identity import Identity, Seeds
from pipeline.core.parts import parts_of
from pipeline.core.pictures import Pictures, evenly
from pipeline.core.setup import Inputs, build_model, build_pixels
from pipeline.counts import plural
from pipeline.data.cache import Data
from pipeline.data.splits import Split, Splits
from pipeline.engine.order import checkpoint_folder
from pipeline.errors import UserError, printable
from pipeline.export.caveats import caveats
from pipeline.export.classify import classify
from pipeline.export.delivery import CARD, CONFIG, MODEL, place_of
from pipeline.export.loading import ONNX
from pipeline.export.model_card import Facts, card, config_json
from pipeline.export.onnx import TOLERANCE, Graph, Unexportable, compare, to_onnx
from pipeline.export.predictions import Form, Unlabeled, said, table
from pipeline.export.selection import Selection
from pipeline.record import pruned
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
        self.warnings: list[str] = []
        self._require_code()

    @cached_property
    def caveats(self) -> tuple[str, ...]:
        """What is to be said first."""
        return caveats(self.record, self.selection)

    def files(self, data: Data, *, with_onnx: bool) -> dict[str, bytes]:
        """Name → content, without the predictions."""
        files = self.model_files()
        if with_onnx:
            content, told = checked(self.artifact, self.graph(), self.record, self.splits(data))
            if content is not None:
                files[ONNX] = content
                self.lines.append(told)
            else:
                self.problem = told
        return files | self.described(data, with_onnx=ONNX in files)

    def model_files(self) -> dict[str, bytes]:
        """The weights, as they may be published."""
        return {MODEL: anonymous(self.model_file.read_bytes(), cutter(self.record))}

    def described(self, data: Data, *, with_onnx: bool) -> dict[str, bytes]:
        """The card and the configuration."""
        facts = self.facts(data, self.caveats, with_onnx=with_onnx)
        return {
            CONFIG: config_json(facts).encode(),
            CARD: card(facts).encode("utf-8", "replace"),
        }

    def graph(self) -> nn.Module:
        """The model as the files hold it, from pictures as decoded, on the CPU."""
        key, device = "export", torch.device("cpu")
        return Graph(*artifact.load(str(self.model_file), key=key, device=device))

    def facts(self, data: Data, caveats: Iterable[str], *, with_onnx: bool) -> Facts:
        """What the card says, as it may be published."""
        parts, cut = self.splits(data), cutter(self.record)
        config = TrainConfig.parse(
            cut.tree(self.artifact.config.model_dump(mode="json")),
            source=printable(self.model_file),
        )
        own = dataclasses.replace(self.artifact, config=config)
        sizes, cautions = (len(parts.train), len(parts.val)), tuple(map(cut.text, caveats))
        return Facts(published(self.record), self.selection, own, *sizes, with_onnx, cautions)

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
        found, scores = self.classify(data, wanted.split, device)
        labels = [printable(name) for name in (data.classes if names else data.written)]
        classes = dict(zip(wanted.files, found.tolist(), strict=True))
        if bad := wanted.unreadable:
            train = self.splits(data).train
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
        by_class = dict(zip(wanted.files, scores.tolist(), strict=True)) if probabilities else {}
        return table(form, by_file, by_class, labels)

    def classify(
        self, data: Data, split: Split, device: str, *, plain: bool = False
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """The class [N] of every picture of `split` and each one's probability [N, K], by the model
        as it was judged; `plain`: as the files hold it.
        """
        where, parts, config = torch.device(device), self.splits(data), self.config
        if plain:
            config = config.model_copy(update={"final": Final()})
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
        return classify(
            config, model, split, Pictures(parts.train, where), pixels, seed=self.seeds.run
        )

    def headline(self) -> list[str]:
        """What is handed on, and why it."""
        run = self.selection.run
        values = [
            f"{name} {value:.4f}"
            for name in (run.selects, run.selects.replace("val_", "test_", 1))
            if (value := run.metric(name)) is not None
        ]
        return [
            f"{self.selection.title}: {', '.join(values)} (of its best epoch)",
            f"chosen thus: {self.selection.why}",
        ]

    def summary(self, target: Path, files: Mapping[str, bytes]) -> list[str]:
        """What was done, for the screen."""
        lines = self.headline()
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
                for name in sorted(files, key=place_of)
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

    def splits(self, data: Data) -> Splits:
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
        if not reasons and (when := pruned.when(self.folder.parents[1], run.key)):
            reasons.append(f"removed on {when} by `python -m pipeline.studies prune`")
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


def checked(
    own: artifact.Artifact, graph: nn.Module, record: Record, parts: Splits
) -> tuple[bytes | None, str]:
    """(the ONNX file, how near it is to torch), where it agrees with torch on pictures of the test
    part (of validation without one); else (None, why there is none).
    """
    split = parts.val if parts.test is None else parts.test
    rows = split.index[evenly(len(split), CHECKED)]
    try:
        content = to_onnx(own, graph, [printable(name, 200) for name in record.data["classes"]])
        found = compare(content, graph, np.asarray(split.images[rows]))
    except Unexportable as error:
        return None, f"model.onnx is not written: {error}"
    num = plural(found.num_pictures, "picture")
    close = f"on {num} its probabilities differ from torch's by at most {found.difference:.1e}"
    if found.holds:
        return content, f"model.onnx: {close}"
    others = plural(found.num_flipped, "answer is another", "answers are others")
    return None, f"model.onnx is not written: {close} (allowed: {TOLERANCE:g}), and {others}"


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
