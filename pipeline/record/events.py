"""The events of a ledger: one class each; `event_form` reads and writes them.

What a field was before it existed is its default, so old ledgers read on; fields that are not known
here are passed over, and stay in the ledger. A field marked `SPARSE` is written only where it is
not its default. To rename a field, or to change what one means, is a new version of its event.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Strict

Line = dict[str, Any]  # an event as it stands in the ledger, less its checksum
Tree = dict[str, Any]  # plain JSON data

Pair = Annotated[tuple[int, float], Strict(False)]  # JSON has lists alone

SPARSE = {"sparse": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened in a study. The ledger gives it its number and its time."""

    kind: ClassVar[str] = ""
    version: ClassVar[int] = 1
    """Of the event's meaning; written from 2 on. A ledger with a newer one is refused."""
    since: ClassVar[int] = 1
    """The format of the ledger that the event came with."""

    seq: int = -1
    time: float = 0.0  # seconds since 1970


@dataclass(frozen=True, slots=True, kw_only=True)
class Study(Event):
    """The first event: what is studied, on which pictures."""

    kind: ClassVar[str] = "study"
    format: Annotated[int, "of the ledger, as it began"] = 1
    commit: Annotated[str, "of the code that began it"] = ""
    id: Annotated[str, "the study's own, for good"] = ""
    study: Annotated[Tree, "the resolved study"]
    data: Annotated[Tree, "what is kept of the pictures"]
    files: Annotated[dict[str, str], "file that the study reads → digest"] = field(
        default_factory=dict
    )
    note: Annotated[str, "what is to be said wherever results are shown"]
    core_version: Annotated[int, "of the training core"] = 0
    listing: Annotated[str, "digest of the names and sizes of the pictures' files"] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision(Event):
    """The study has grown: from here on it has another design or space, or longer runs."""

    kind: ClassVar[str] = "revision"
    since: ClassVar[int] = 2
    study: Annotated[Tree, "the resolved study from here on"]
    changed: Annotated[list[str], "a line for each field: what it was, what it is"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session(Event):
    """A command begins."""

    kind: ClassVar[str] = "session"
    command: Annotated[str, "as it can be given again"]
    versions: Annotated[dict[str, str], "library → version"] = field(default_factory=dict)
    commit: Annotated[str, "of the code, + where files were changed"] = ""
    place: Annotated[dict[str, str], "where it ran: what is cut from all that is published"] = (
        field(default_factory=dict)
    )
    machine: Annotated[Tree, "device, cores, name"] = field(default_factory=dict)
    workers: Annotated[int, "runs at the same time; 0: not recorded"] = 0
    budget: Annotated[Tree, "trials, replicates, margin as asked for"] = field(default_factory=dict)
    default: Annotated[Tree, "the same as the study's file says"] = field(default_factory=dict)
    gpus: Annotated[float | None, "of a run; none where it has a core, or it was not recorded"] = (
        field(default=None, metadata=SPARSE)
    )
    price: Annotated[float | None, "of an hour of a core or a GPU; 0: none any more"] = field(
        default=None, metadata=SPARSE
    )
    tags: Annotated[dict[str, str], "of --tag"] = field(default_factory=dict, metadata=SPARSE)
    note: Annotated[str, "of --note"] = field(default="", metadata=SPARSE)
    experiment: Annotated[str, "of --experiment"] = field(default="", metadata=SPARSE)
    also: Annotated[str, "of --also"] = field(default="", metadata=SPARSE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Event):
    """What is to be done, written down before it is; again where that changes."""

    kind: ClassVar[str] = "plan"
    plan: Annotated[Tree, "arms, questions, replicates, margin"]
    expected: Annotated[Tree, "how long it will take"]
    changed: Annotated[list[str], "what differs from the plan before"]
    after_results: Annotated[bool, "whether an arm had a result by then"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pilot(Event):
    """What the reference's first replicates say that the ablation will find."""

    kind: ClassVar[str] = "pilot"
    arm: Annotated[str, "the reference"]
    metric: Annotated[str, "what judges: test_acc, or last_val_acc"]
    runs: Annotated[int, "how many"]
    sd: Annotated[float, "of the metric among them"]
    sd_upper: Annotated[float | None, "upper bound of that of all runs"] = field(
        default=None, metadata=SPARSE
    )
    confidence: Annotated[float, "of the bound, one-sided"] = 0.0
    seconds_per_epoch: Annotated[float, "median"]
    replicates: Annotated[int, "as planned"]
    detectable: Annotated[list[Tree], "of each family the smallest effect found"]
    replicates_for: Annotated[list[Tree], "effect → replicates that find it"] = field(
        default_factory=list
    )
    expected: Annotated[Tree, "how long the rest will take"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial(Event):
    """A search proposes a configuration that is new."""

    kind: ClassVar[str] = "trial"
    run: Annotated[str, "key of the run"]
    search: Annotated[str, "'' for the study's own, else that of an arm"] = ""
    arm: Annotated[str, "that is tuned"] = ""
    trial: Annotated[int, "number in its search, from 0"]
    knobs: Annotated[Tree, "what was proposed"]
    asked: Annotated[int | None, "rung whose values proposed it"]
    replicate: Annotated[int, "whose split it is trained on"] = 0
    config: Annotated[Tree, "the whole configuration"]
    costs: Annotated[dict[str, int], "of the search's objectives → what its network has of it"] = (
        field(default_factory=dict, metadata=SPARSE)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin(Event):
    """A search proposes the configuration of a run that exists."""

    kind: ClassVar[str] = "twin"
    run: Annotated[str, "key of the run"]
    search: Annotated[str, "as in a trial"] = ""
    arm: Annotated[str, "as in a trial"] = ""
    trial: Annotated[int, "number in its search, from 0"]
    knobs: Annotated[Tree, "what was proposed"]
    asked: Annotated[int | None, "rung whose values proposed it"]
    values: Annotated[list[Pair], "rung, value that the run had by then"] = field(
        default_factory=list
    )
    diverged: Annotated[bool, "whether the run had by then, or was infeasible"] = False
    sent: Annotated[int | None, "rung that the run was on its way to"] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Race(Event):
    """The best trials of the study's search are trained again; then which of them stays."""

    kind: ClassVar[str] = "race"
    since: ClassVar[int] = 3
    candidates: Annotated[list[str], "their runs, the best first"]
    winner: Annotated[str, "the run of the one that stays; '' as long as that is open"] = ""
    arm: Annotated[str, "what it is called as an arm; '' as long as that is open"] = ""
    overrides: Annotated[Tree, "what the arm sets"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm(Event):
    """A replicate of an arm is taken up."""

    kind: ClassVar[str] = "arm"
    run: Annotated[str, "key of the run"]
    arm: Annotated[str, "name of the arm"]
    replicate: Annotated[int, "from 1"]
    config: Annotated[Tree, "the whole configuration"]
    data: Annotated[str, "fingerprint of the pictures"] = ""
    core_version: Annotated[int, "of the training core; 0: not recorded"] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Source(Event):
    """A run is taken up that tells apart which source of chance makes the arms' replicates
    differ."""

    kind: ClassVar[str] = "source"
    since: ClassVar[int] = 4
    run: Annotated[str, "key of the run"]
    arm: Annotated[str, "whose replicate it is a variation of"]
    replicate: Annotated[int, "its own, and what of its chance is drawn anew (see `identity`)"]
    config: Annotated[Tree, "the whole configuration"]
    data: Annotated[str, "fingerprint of the pictures"] = ""
    core_version: Annotated[int, "of the training core; 0: not recorded"] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Code(Event):
    """What runs are trained by, each version once."""

    kind: ClassVar[str] = "code"
    id: Annotated[str, "digest of the parts"]
    parts: Annotated[dict[str, dict[str, str]], "part → file → digest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Start(Event):
    """A segment of a run is handed to a worker; its number names the segment."""

    kind: ClassVar[str] = "start"
    run: Annotated[str, "key of the run"]
    rung: Annotated[int, "that it is sent to; -1 for an arm"]
    code: Annotated[str, "id of the code that it is trained by; '': not recorded"] = ""
    parts: Annotated[int, "of a batch, where memory asked for more than `accumulate`"] = field(
        default=0, metadata=SPARSE
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch(Event):
    """A run has trained an epoch."""

    kind: ClassVar[str] = "epoch"
    run: Annotated[str, "key of the run"]
    metrics: Annotated[
        dict[str, float],
        "epoch, losses, accuracies, lr, seconds; where gradients are clipped grad_norm, the mean "
        "of the steps before that; in fp16 skipped_steps, left out as gradients overflowed",
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung(Event):
    """A trial has reached a rung, and waits there."""

    kind: ClassVar[str] = "rung"
    run: Annotated[str, "key of the run"]
    rung: Annotated[int, "from 0"]
    value: Annotated[float, "what it is ranked by: val_acc, or val of what the study selects by"]
    early: Annotated[bool, "whether its patience had run out"] = field(
        default=False, metadata=SPARSE
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail(Event):
    """An attempt at a segment has failed."""

    kind: ClassVar[str] = "fail"
    run: Annotated[str, "key of the run"]
    error: Annotated[str, "in words"]
    log: Annotated[str, "what it left, relative to the study's folder"] = field(
        default="", metadata=SPARSE
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class End(Event):
    """A run has ended: complete, stopped, diverged or failed."""

    kind: ClassVar[str] = "end"
    run: Annotated[str, "key of the run"]
    status: Annotated[Literal["complete", "stopped", "diverged", "failed"], "how"]
    error: Annotated[str, "in words"] = field(default="", metadata=SPARSE)
    best_epoch: Annotated[int, "from 1"] = field(default=0, metadata=SPARSE)
    num_params: Annotated[int, "parameters"] = field(default=0, metadata=SPARSE)
    num_macs: Annotated[int, "multiply-accumulates of a picture's forward pass"] = field(
        default=0, metadata=SPARSE
    )
    num_train: Annotated[int, "training pictures"] = field(default=0, metadata=SPARSE)
    test_loss: Annotated[float | None, "of the best epoch"] = field(default=None, metadata=SPARSE)
    test_acc: Annotated[float | None, "of the best epoch"] = field(default=None, metadata=SPARSE)
    final: Annotated[Tree, "of a finished model that was changed after training"] = field(
        default_factory=dict, metadata=SPARSE
    )
    metrics: Annotated[dict[str, float], "of the config's metrics, beside test_acc"] = field(
        default_factory=dict, metadata=SPARSE
    )
    early: Annotated[bool, "whether its patience ran out"] = field(default=False, metadata=SPARSE)
    infeasible: Annotated[bool, "whether it failed as it does not fit the device's memory"] = field(
        default=False, metadata=SPARSE
    )
    evidence: Annotated[str, "SHA-256 of the file that it left for the report"] = field(
        default="", metadata=SPARSE
    )
    device: Annotated[str, "name of the GPU that trained its end; '': a CPU, as in the session"] = (
        field(default="", metadata=SPARSE)
    )
    tf32: Annotated[bool, "whether convolutions in float32 are computed in TF32 there"] = field(
        default=False, metadata=SPARSE
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish(Event):
    """A command ends: complete, interrupted, time limit or failed."""

    kind: ClassVar[str] = "finish"
    status: Annotated[str, "complete, interrupted, time limit, failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair(Event):
    """A damaged ledger was mended."""

    kind: ClassVar[str] = "repair"
    since: ClassVar[int] = 2
    restored: Annotated[int, "lines with a single wrong byte, given back by the checksum"]
    unreadable: Annotated[int, "lines that are lost"]
    missing: Annotated[int, "numbers that no line has"]
    left_out: Annotated[dict[str, int], "type → events that built on what is lost"]
    file: Annotated[str, "what the damaged file is called now"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mlflow(Event):
    """A run of MLflow was made for something of the study."""

    kind: ClassVar[str] = "mlflow"
    uri: Annotated[str, "of the store, without a password"]
    what: Annotated[str, "study, arm:NAME or the key of a run"]
    id: Annotated[str, "of the run there"]
    experiment: Annotated[str, "of the study there"] = field(default="", metadata=SPARSE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread(Event):
    """A sealed line that is none of the above, or lacks what one has."""

    line: Line
    error: Exception

    @property
    def newer(self) -> bool:
        """Whether it is a newer version of an event that is known here."""
        known = KINDS.get(self.line["type"])
        found = self.line.get("version", 1)
        return known is not None and type(found) is int and found > known.version


KINDS: dict[str, type[Event]] = {
    cls.kind: cls
    for cls in (
        *(Study, Revision, Session, Plan, Pilot, Trial, Twin, Race, Arm, Source, Code),
        *(Start, Epoch, Rung, Fail, End, Finish, Repair, Mlflow),
    )
}
