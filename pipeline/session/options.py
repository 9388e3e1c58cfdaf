"""What a command line asks for, as one frozen value: made of the flags once, by `cli.options`."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields

MLRUNS = "mlruns"
BEST = "best"  # the trial that --around is about
AUTO = "auto"  # the record that --warm-start is to choose itself
NOTIFY = "PIPELINE_NOTIFY"  # addresses to be told, in the environment
NEWS = "news"  # the thread that tells them
NO_WORD = ("command", "sets", "verbosity", "notify", "tags")  # options that are told otherwise
HANDED_OVER = "handed-over.json"  # the file of a study that another program made, for a moment


@dataclass(frozen=True)
class Options:
    """The flags of a command; those that it does not have, or that were not given, have their
    default.

    `command` is the module after `python -m`; `sets` are `KEY=VALUE` as they were typed; `time` is
    in seconds, `gpus_per_trial` a share of one or whole ones (0: CPU cores), `address` that of a
    cluster ("": this machine alone), `verbosity` -1, 0 or 1. `notify`: addresses to be told, which
    hold secrets: no word of the command line that is shown or recorded. `tags` are `KEY=VALUE` too.
    """

    command: str
    study: str
    data: str | None = None
    mlruns: str = MLRUNS
    sets: tuple[str, ...] = ()
    trials: int | None = None
    epochs: int | None = None
    replicates: int | None = None
    until_answered: bool | None = None
    variance: int | None = None
    race: int | None = None
    against: str | None = None
    seed: int | None = None
    time: float | None = None
    warm_start: str = ""
    workers: int | None = None
    gpus_per_trial: float | None = None
    address: str = ""
    price_per_hour: float | None = None
    max_gpu_hours: float | None = None
    max_core_hours: float | None = None
    resume: bool = False
    fresh: bool = False
    dry_run: bool = False
    verbosity: int = 0
    path: bool = False
    around: str = ""
    debug: bool = False
    notify: tuple[str, ...] = field(default=(), repr=False)
    experiment: str = ""
    tags: tuple[str, ...] = ()
    note: str = ""
    also: str = ""

    @property
    def is_limited(self) -> bool:
        """Whether the command's time is limited, by whatever flag."""
        limits = (self.time, self.max_gpu_hours, self.max_core_hours)
        return any(limit is not None for limit in limits)

    @property
    def way(self) -> str:
        """Which study is derived from the recorded search: its path, that around its best trial;
        ''.
        """
        return "path" if self.path else "around" if self.around else ""

    @classmethod
    def of(cls, command: str, args: argparse.Namespace) -> "Options":
        """The options among the parsed flags of a command, which may have others of its own."""
        given = vars(args)
        found = {one.name: given[one.name] for one in fields(cls) if one.name in given}
        several = {name: tuple(given.get(name, ())) for name in ("sets", "notify", "tags")}
        return cls(command, **found | several)

    def words(self) -> list[str]:
        """The command line that asks for this, after the command; without addresses."""
        found = []
        for one in fields(self):
            value, flag = getattr(self, one.name), f"--{one.name.replace('_', '-')}"
            if one.name in NO_WORD or value == one.default:
                continue
            found += [flag] if value is True else [f"{flag}={value}"]
        found += [f"--set={text}" for text in self.sets]
        found += [f"--tag={text}" for text in self.tags]
        return found + {-1: ["-q"], 0: [], 1: ["-v"]}[self.verbosity]


def parted(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """(the words of a command line without addresses to be told, these addresses)."""
    kept, addresses = list[str](), list[str]()
    left: Iterator[str] = iter(words)
    for word in left:
        flag, equals, value = word.partition("=")
        if flag != "--notify":
            kept.append(word)
        else:
            addresses += [value] if equals else [next(left, "")]
    return kept, addresses
