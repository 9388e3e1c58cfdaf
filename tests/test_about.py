"""Who a study is for and why: what `--tag`, `--note` and `--experiment` take, keep and show."""

import getpass

import pytest
from mlflow import MlflowClient

from pipeline.doctor.recorded import lines as said_of
from pipeline.doctor.recorded import read
from pipeline.errors import UserError
from pipeline.record import events, outbox
from pipeline.record.about import MAX_TEXT, About
from pipeline.record.events import Session
from pipeline.record.ledger import FILE, Ledger, read_events
from pipeline.record.mlflow_places import tracking_uri
from pipeline.record.record import Record
from pipeline.record.tracking import Tracker
from pipeline.report.compose import read as findings
from pipeline.report.compose import texts
from pipeline.session.about import about_of, compare
from pipeline.session.cli import options, parser
from pipeline.session.options import Options
from tests import commands
from tests.driver import Worker, train
from tests.records import Scribe, make_study
from tests.studies import small_study
from tests.test_tracking import Session as Tracked
from tests.test_tracking import again


def asked(*words: str) -> About:
    flags = parser("pipeline.search", "", trains=True, searches=True)
    return about_of(options(flags, ["--study", "hw3", *words]))


def test_what_is_said_is_kept_by_key():
    found = asked("--tag", "owner=anna", "--tag=paper = a b=c ", "--note", " why \n so ")
    assert found.tags == {"owner": ("anna",), "paper": ("a b=c",)}
    assert found.notes == ("why \n so",)
    assert asked("--experiment", "{user}/hw3").experiment == f"{getpass.getuser()}/hw3"
    assert asked() == About()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--tag", "owner"), "--tag: expected KEY=VALUE, got 'owner'"),
        (("--tag", "owner="), "--tag: expected KEY=VALUE, got 'owner='"),
        (("--tag", "a=1", "--tag", "a=2"), "--tag: a: given twice"),
        (("--tag", "status=fine"), "--tag: status: a tag of the pipeline's or MLflow's own"),
        (("--tag", "mlflow.user=me"), "--tag: mlflow.user: a tag of the pipeline's or MLflow's"),
        (("--tag", "factor.x=on"), "--tag: factor.x: a tag of"),
        (("--tag", "what?=1"), "--tag: what?: MLflow takes letters, digits"),
        (("--tag", "../up=1"), "--tag: ../up: MLflow takes letters"),
        (("--tag", f"{'k' * 251}=1"), "its name has 251 characters; at most 250"),
        (("--tag", f"k={'v' * 5001}"), "--tag: k: its value has 5,001 characters; at most 5,000"),
        (("--note", "x" * (MAX_TEXT + 1)), "--note: at most 5,000 characters, got 5,001"),
        (("--note", "  "), "--note: it is empty"),
        (("--experiment", "x" * 501), "--experiment: at most 500 characters, got 501"),
        (("--experiment", "a\nb"), "no line breaks"),
        (("--experiment", "{usr}"), "--experiment: {usr}: only {user} is known"),
    ],
)
def test_what_cannot_be_taken_is_refused(words, told):
    with pytest.raises(UserError) as error:
        asked(*words)
    assert told in str(error.value)


def test_a_program_hands_them_on_as_words():
    made = Options("pipeline.search", "hw3", tags=("a=1", "b=x y"), note="why", experiment="e")
    flags = parser("pipeline.search", "", trains=True, searches=True)
    assert options(flags, ["--study", "hw3", *made.words()]) == made


def test_what_others_say_is_added_and_an_experiment_stays():
    first = Session(command="", tags={"owner": "anna"}, note="one", experiment="ours")
    record = Record(sessions=[first, Session(command=""), Session(command="", note="two")])
    assert record.about == About({"owner": ("anna",)}, ("one", "two"), "ours")
    record.sessions.append(Session(command="", tags={"owner": "ben", "x": "y"}, note="one"))
    assert record.about.mlflow_tags == {"owner": "anna, ben", "x": "y"}
    assert record.about.mlflow_note == "one\n\ntwo"
    assert compare(asked("--tag", "owner=ben", "--tag", "new=1"), record) == []
    (told,) = compare(asked("--tag", "owner=cleo"), record)
    assert told == "tag owner: recorded 'anna, ben', from now on also 'cleo'"
    assert compare(asked("--experiment", "ours"), record) == []
    with pytest.raises(UserError, match=r"got 'mine', and the runs .* experiment 'ours': leave"):
        compare(asked("--experiment", "mine"), record)
    sent = Record(sessions=[Session(command="")], mlflow_ids={"http://lab|study": "1"})
    with pytest.raises(UserError, match="in the experiment named after its folder: leave"):
        compare(asked("--experiment", "mine"), sent)
    assert compare(asked("--experiment", "mine"), Record(sessions=[Session(command="")])) == []


def test_they_are_shown_where_they_were_given_and_nowhere_else(tmp_path):
    shown = {}
    for name in ("with", "without"):
        scribe = Scribe(tmp_path / name, make_study(replicates=2))
        scribe.session()
        if name == "with":
            said = {"tags": {"owner": "anna"}, "note": "for the course"}
            scribe.ledger.append(Session(command="python -m x", experiment="ours", **said))
        scribe.arms()
        record = scribe.record()
        for lang in ("en", "zh"):
            page = texts(findings(record), {}, lang)["report.md"]
            rows = [line for line in page.splitlines() if line.startswith("|")]
            shown[name, lang] = "\n".join(rows)
        shown[name, "show"] = "\n".join(map(": ".join, said_of(read(tmp_path / name))))
    for lang, words in (
        ("en", ("| tags | owner = anna |", "| note | for the course |", "| MLflow experiment | o")),
        ("zh", ("| 标签 | owner = anna |", "| 备注 | for the course |", "| MLflow 实验 | ours |")),
        ("show", ("tags: owner = anna", "note: for the course", "experiment: ours")),
    ):
        for word in words:
            assert word in shown["with", lang]
            assert word not in shown["without", lang]
    line = (tmp_path / "without" / FILE).read_text()
    assert not [word for word in ('"tags"', '"experiment"') if word in line]


def test_mlflow_shows_them_also_on_what_was_there_before(tmp_path, monkeypatch):
    monkeypatch.setattr(outbox, "FLUSH_SECONDS", 0.05)
    root, folder = tmp_path / "mlruns", tmp_path / "mlruns" / "small-digits"
    session = Tracked(root, folder, small_study(num_trials=1, replicates=1))
    train(session.plan, Worker())
    assert session.close() == ""
    client = MlflowClient(tracking_uri(root))
    experiment = client.get_experiment_by_name(folder.name)
    client.set_experiment_tag(experiment.experiment_id, "course", "somebody else's")

    def go_on(**said: object) -> None:
        with Ledger(folder) as ledger:
            tracker = Tracker(root, folder, ledger.events, ledger.append, lambda *_: {})
            ledger.listener = tracker.put
            ledger.append(Session(command="test", **said))
            ledger.append(events.Finish(status="complete"))
            assert tracker.close() == ""

    go_on(tags={"owner": "anna", "course": "ml"}, note="why")
    go_on()
    go_on(tags={"owner": "ben"}, note="and why again")
    runs = client.search_runs([experiment.experiment_id])
    own = {run.info.run_id: run.data.tags for run in runs}
    record = Record.of(read_events(folder))
    assert len(own) == 1 + len(record.runs) + len(record.arms())
    assert {(tags["owner"], tags["course"]) for tags in own.values()} == {("anna, ben", "ml")}
    (note,) = (
        tags["mlflow.note.content"] for tags in own.values() if "mlflow.note.content" in tags
    )
    assert note == "A small study\n\na note\n\nwhy\n\nand why again"
    shown = client.get_experiment(experiment.experiment_id).tags
    assert (shown["owner"], shown["course"]) == ("anna, ben", "somebody else's")
    assert shown["mlflow.note.content"] == "why\n\nand why again"
    assert again(root, folder) == ""


def test_a_command_takes_them_and_sends_to_the_experiment(tmp_path):
    home = tmp_path / "mlruns"
    flags = (*commands.SHORT, "--debug", "--epochs", 1, "--tag", "owner=anna", "--note", "why")
    named = ("--experiment", "ours")
    assert commands.here("ablate", *flags, *named, home=home) == 0, commands.output(home)
    rows = commands.mlflow_rows(home, "SELECT name, artifact_location FROM experiments")
    places = {name: place for name, place in rows if name != "Default"}
    assert list(places) == ["ours"]
    assert places["ours"].endswith(f"artifacts/{commands.folder(home).name}")
    tags = commands.mlflow_rows(home, "SELECT value FROM tags WHERE key = 'owner'")
    assert tags == [("anna",)] * len(tags)
    assert len(tags) == 1 + 2 + 2
    assert not (commands.folder(home) / "windows").exists()  # which were not asked for
    assert '"also"' not in (commands.folder(home) / FILE).read_text()
    assert commands.here("ablate", *flags, "--experiment", "others", home=home) == 2
    assert "are in the experiment 'ours'" in " ".join(commands.output(home).split())
    dry = ("--dry-run", "--experiment", "others")
    assert commands.here("ablate", *flags, *dry, home=home) == 2, "a dry run is no more lenient"
    other = (*flags[: flags.index("--tag")], "--dry-run", "--tag", "owner=ben")
    assert commands.here("ablate", *other, home=home) == 0
    assert "recorded 'anna', from now on also 'ben'" in " ".join(commands.output(home).split())
