"""`python -m pipeline` and the console script `ablation-pipeline`: the list of the commands, and
`python -m pipeline search …` for `python -m pipeline.search …`.
"""

import importlib.metadata
import os
import runpy
import sys
from collections.abc import Sequence

from pipeline.errors import choices, listed
from pipeline.screen import fold, steadily
from pipeline.session.cli import guarded, tell_error
from pipeline.study.names import OWN, every_shipped, named

COMMANDS = {
    "search": "search the study's space, train its arms, write the report",
    "ablate": "the arms alone, or the path from the baseline to the best trial",
    "report": "the report again, from what is recorded",
    "status": "how one study is going, from another terminal while it runs",
    "studies": "all recorded studies: how far each is, its best arm, its size",
    "compare": "arms of several recorded studies, judged as the arms of one",
    "export": "the best model with its card, predictions for Kaggle",
    "labels": "pictures that look mislabelled, by runs that did not learn from them",
    "doctor": "machine, data and networks, looked at before hours are spent",
    "new": "write a study of your own to start from",
    "ui": "the MLflow UI",
    "caches": "the caches of decoded pictures and who uses them",
    "repair": "of a damaged ledger, keep what can be vouched for",
}


@steadily
def main(argv: Sequence[str] | None = None) -> int:
    """The list of the commands, or the version: 0; of a word that is none of them 2."""
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] == "--version":
        print(f"ablation-pipeline {importlib.metadata.version('ablation-pipeline')}")
        return 0
    if not words or words[0] in ("-h", "--help"):
        print("\n".join(_overview()))
        return 0
    tell_error(choices(words[0], COMMANDS))
    return 2


def _overview() -> list[str]:
    lines = ["usage: python -m pipeline COMMAND …, or python -m pipeline.COMMAND …", ""]
    for name, about in COMMANDS.items():
        lines += fold(about, first=f"  {name:10}", then=" " * 12)
    own = named(OWN)
    yours = f", and yours in {OWN}/: {listed(own)}" if own else ""
    return [
        *lines,
        "",
        *fold(f"Studies (--study NAME): {every_shipped()}{yours}"),
        *fold("The flags of one: python -m pipeline COMMAND --help. Which version: --version"),
    ]


def run() -> None:
    """A command as `python -m pipeline.COMMAND` runs it, in this process; else the list."""
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        guarded(main)
    del sys.argv[0]  # its first word is the command's name; runpy puts the module's file there
    if not {"", os.getcwd()} & set(sys.path):
        # as of python -m, whose studies may import what lies beside them; last, so that no file
        # of the user's hides a package
        sys.path.append(os.getcwd())
    runpy.run_module(f"pipeline.{sys.argv[0]}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    run()
