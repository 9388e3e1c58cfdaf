"""Which run is which: by what was recorded of it, read back by today's classes, never by a text of
it alone.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pipeline.errors import UserError, printable
from pipeline.frozen import Frozen
from pipeline.own.code import lost

Read = TypeVar("Read", bound=Frozen)

FIRST_RACE = 2000
"""Run r of a race has the replicate FIRST_RACE + r: weights and an order of pictures that no other
run has, on the split of the trials that race.
"""
REDRAWN = 10_000
"""Replicate n * REDRAWN + r is replicate r with its n innermost sources of chance drawn anew: the
order of the pictures (with what augmentation and dropout draw), then the initial weights too, then
the split too.
"""


def as_today(cls: type[Read], tree: Mapping[str, Any]) -> Read:
    """What was recorded, read by today's classes: a newer field has its default. Raises UserError
    where they cannot, or where code of the user's is gone.
    """
    try:
        return cls.parse(tree, source="ledger")
    except UserError as error:
        if gone := lost(tree):
            raise UserError(
                "\n".join(gone) + "\nthis was recorded with it; nothing has been changed: put the "
                "code back where it can be found to read the record"
            ) from None
        raise UserError(
            f"{error}\nthis was recorded by another version of the code; nothing has been changed: "
            "use that version for it"
        ) from None


def run_key(
    config: Frozen, data_fingerprint: str, replicate: int, seed: int, core_version: int
) -> str:
    """A run's identity: the same key is never trained twice."""
    text = f"{config.fingerprint()} {data_fingerprint} {replicate} {seed} {core_version}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Seeds:
    """What a run's chance is drawn by: `run` the order of its pictures and, unless `weights` says
    otherwise, its weights; `split` and the number `drawn` its split, where one is drawn.
    """

    study: int
    replicate: int

    @property
    def run(self) -> int:
        return self.split + self.replicate

    @property
    def split(self) -> int:
        return self.study * 1_000_003

    @property
    def weights(self) -> int:
        """What its initial weights are drawn by."""
        redrawn, replicate = divmod(self.replicate, REDRAWN)
        return self.split + (replicate if redrawn == 1 else self.replicate)

    @property
    def drawn(self) -> int:
        """The replicate whose split it is trained on; 0 is that of the study's own search."""
        redrawn, replicate = divmod(self.replicate, REDRAWN)
        if redrawn:
            return replicate if redrawn < 3 else self.replicate
        return 0 if self.replicate > FIRST_RACE else self.replicate


@dataclass(frozen=True)
class Keys:
    """The keys and seeds of a study's runs. A run recorded with fewer fields of its config keeps
    the key that it has.
    """

    data: str  # fingerprint of the pictures
    study_seed: int
    core_version: int
    _recorded: dict[str, str] = field(default_factory=dict)

    def seeds(self, replicate: int) -> Seeds:
        return Seeds(self.study_seed, replicate)

    def of(self, config: Frozen, replicate: int) -> str:
        key = self._new(config, replicate)
        return self._recorded.get(key, key)

    def keep(self, key: str, config: Frozen, replicate: int) -> None:
        """A recorded run; `config` as today's class reads it."""
        self._recorded.setdefault(self._new(config, replicate), key)

    def _new(self, config: Frozen, replicate: int) -> str:
        return run_key(config, self.data, replicate, self.seeds(replicate).run, self.core_version)


@dataclass(frozen=True)
class Identity:
    """What a checkpoint must agree with to be gone on from."""

    config: Frozen
    seed: int
    core_version: int

    def recorded(self) -> dict[str, Any]:
        """As the meta data keep it; the config itself stands in the header of the best weights."""
        return {
            "fingerprint": self.config.fingerprint(),
            "seed": self.seed,
            "core_version": self.core_version,
        }

    def agrees(self, recorded: Mapping[str, Any], best: Path) -> bool:
        """Whether what was `recorded` beside the weights `best` is this: configs are compared as
        today's classes read them.

        So a field that is newer than the checkpoint has its default. Raises UserError where they
        cannot read its config.
        """
        own = self.recorded()
        if recorded == own:
            return True
        if any(recorded[key] != own[key] for key in ("seed", "core_version")):
            return False
        from safetensors import safe_open  # with torch, which takes seconds to import

        with safe_open(best, framework="pt") as file:
            about = file.metadata() or {}
        if "config" not in about:
            return False
        return (
            type(self.config).parse(json.loads(about["config"]), source=printable(best))
            == self.config
        )
