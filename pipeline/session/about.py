"""`--tag`, `--note` and `--experiment`: what they say, held against the limits of MLflow, our own
tags and the record.
"""

import argparse
import getpass
import re

from pipeline.errors import UserError, printable
from pipeline.record.about import MAX_TEXT, About
from pipeline.record.record import Record
from pipeline.session.options import Options

KEY, MAX_KEY, MAX_NAME = re.compile(r"[/\w.\- :]*"), 250, 500  # of MLflow
OWN = (
    *("study", "dataset", "note", "kind", "trial", "search", "arm", "replicate", "status"),
    *("error", "changed"),
)
OWN_HEADS = ("mlflow.", "pipeline.", "factor.", "environment.", "budget.", "dataset.", "git.")
FIELDS = ("user",)


def add_about(flags: argparse.ArgumentParser) -> None:
    """The flags that say it."""
    flags.add_argument(
        "--experiment",
        metavar="NAME",
        default="",
        help="MLflow's experiment of the study (default: the name of its folder); {user} in it "
        "stands for your name, which keeps people apart on one server",
    )
    flags.add_argument(
        "--tag",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="tags",
        help="who or what the study is for: a tag of its runs in MLflow, kept in the record and "
        "shown in the report; repeatable",
    )
    flags.add_argument(
        "--note",
        metavar="TEXT",
        default="",
        help="why it is done: the study's description in MLflow, kept and shown likewise",
    )


def about_of(options: Options) -> About:
    """What a command says; raises UserError where it cannot be taken."""
    tags: dict[str, tuple[str, ...]] = {}
    for text in options.tags:
        key, value = _tag(text)
        if key in tags:
            raise UserError(f"--tag: {printable(key)}: given twice; leave one of them out")
        tags[key] = (value,)
    note = options.note.strip()
    if len(note) > MAX_TEXT:
        raise UserError(f"--note: at most {MAX_TEXT:,} characters, got {len(note):,}")
    if options.note and not note:
        raise UserError("--note: it is empty; leave it out, or say something")
    return About(tags, (note,) if note else (), _experiment(options.experiment))


def compare(asked: About, record: Record) -> list[str]:
    """What to say of tags whose value is not the recorded one. Raises UserError where the runs of
    the study are in another experiment of MLflow by now.
    """
    recorded = record.about
    was, now = recorded.experiment, asked.experiment
    if now not in ("", was) and (was or record.mlflow_ids):
        where = f"'{printable(was)}'" if was else "named after its folder"
        raise UserError(
            f"--experiment: got '{printable(now)}', and the runs of this study are in the "
            f"experiment {where}: leave the flag out; to have it called otherwise, rename it in "
            "MLflow, which later commands follow"
        )
    return [
        f"tag {printable(key)}: recorded '{printable(recorded.text_of(key), 200)}', from now on "
        f"also '{printable(values[0], 200)}'"
        for key, values in asked.tags.items()
        if key in recorded.tags and values[0] not in recorded.tags[key]
    ]


def _tag(text: str) -> tuple[str, str]:
    key, equals, value = (part.strip() for part in text.partition("="))
    if not (key and equals and value):
        raise UserError(f"--tag: expected KEY=VALUE, got {printable(repr(text), 200)}")
    shown = printable(key, 100)
    if key in OWN or key.startswith(OWN_HEADS):
        raise UserError(
            f"--tag: {shown}: a tag of the pipeline's or MLflow's own; give it another name (taken "
            f"are {', '.join((*OWN, *(f'{head}…' for head in OWN_HEADS)))})"
        )
    if not KEY.fullmatch(key) or key.startswith(("/", ".")) or "//" in key or ".." in key:
        raise UserError(
            f"--tag: {shown}: MLflow takes letters, digits and _ - . / : and blanks in a name"
        )
    for what, found, most in (("name", key, MAX_KEY), ("value", value, MAX_TEXT)):
        if len(found) > most:
            raise UserError(
                f"--tag: {shown}: its {what} has {len(found):,} characters; at most {most:,}"
            )
    return key, value


def _experiment(name: str) -> str:
    for found in re.findall(r"\{(.*?)\}", name):
        if found not in FIELDS:
            raise UserError(
                f"--experiment: {{{printable(found, 60)}}}: only {{user}} is known, which is the "
                "name of who runs the command"
            )
    if len(name) > MAX_NAME:
        raise UserError(f"--experiment: at most {MAX_NAME} characters, got {len(name):,}")
    if name and (name != name.strip() or not name.isprintable()):
        raise UserError(
            f"--experiment: got {printable(repr(name), 200)}; a name has no blanks at its ends and "
            "no line breaks"
        )
    try:
        return name.replace("{user}", getpass.getuser()) if "{user}" in name else name
    except (OSError, KeyError):
        raise UserError(
            "--experiment: {user}: this machine has no name for the user; write one instead"
        ) from None
