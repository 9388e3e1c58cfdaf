"""A damaged ledger is refused, and `pipeline.repair` makes a sound one of what can be vouched for;
the study goes on.
"""

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.config import TrainConfig
from pipeline.errors import MachineError, UserError
from pipeline.frozen import digest
from pipeline.record.event_form import written
from pipeline.record.events import Event, Repair
from pipeline.record.ledger import FILE, Ledger, read_events
from pipeline.record.lines import restored, seal, unseal
from pipeline.record.record import Record
from pipeline.record.salvage import mend
from pipeline.record.sources import code
from pipeline.repair import main
from pipeline.report.document import Text
from pipeline.report.language.catalogue import catalogue
from pipeline.report.language.translator import Translator
from pipeline.report.sections import provenance
from pipeline.session.resume import LOST, changed_since
from pipeline.study.study import Study
from pipeline.study.tuning import RACE
from tests.driver import Worker, drive, facts, open_plan
from tests.records import Note
from tests.studies import small_study

RECORDED = Path(__file__).parent / "recorded" / "dcfe179" / "small-digits"


def lines_of(folder: Path) -> list[bytes]:
    return (folder / FILE).read_bytes().splitlines(keepends=True)


@pytest.fixture(scope="module")
def studies(tmp_path_factory) -> dict[str, tuple[Study, Path]]:
    """A finished study of one worker, and one of three workers with arms that have searches of
    their own.
    """
    made = {}
    plain = small_study(num_trials=8, replicates=2)
    tuned = plain.override(
        {"ablation.tuning.name": "per_arm", "ablation.tuning.num_trials": 3}, source="test"
    )
    raced = small_study(num_trials=8, replicates=2, race=3)
    made_of = (("one worker", plain, 1), ("tuned", tuned, 3), ("raced", raced, 1))
    for name, study, workers in made_of:
        folder = tmp_path_factory.mktemp("study")
        drive(
            open_plan(folder, study),
            Worker(diverges=lambda config: config.model.dropout > 0.4),
            workers=workers,
        )
        made[name] = (study, folder)
    return made


def without_number(event: Event) -> str:
    return json.dumps(written(replace(event, seq=0)))


def is_part(some: list[str], whole: list[str]) -> bool:
    """Whether `some` stand in `whole` in the same order."""
    rest = iter(whole)
    return all(one in rest for one in some)


def mended(folder: Path, content: bytes, whole: list[Event]) -> Record:
    """The record of what a repair makes of `content`, after a look at all that it promises."""
    (folder / FILE).write_bytes(content)
    assert main([str(folder)]) == 0
    *kept, note = read_events(folder)
    assert isinstance(note, Repair)
    assert (folder / note.file).read_bytes() == content
    assert is_part(
        [without_number(event) for event in kept], [without_number(event) for event in whole]
    )
    before = (folder / FILE).read_bytes()
    assert main([str(folder)]) == 0  # sound by now: nothing to do
    assert (folder / FILE).read_bytes() == before
    return Record.of(read_events(folder))


@pytest.mark.parametrize("name", ["one worker", "tuned", "raced"])
@pytest.mark.parametrize("part", range(4))
def test_a_study_that_lost_any_line_goes_on_to_the_same_size(tmp_path, studies, name, part):
    study, source = studies[name]
    lines, whole = lines_of(source), list(read_events(source))
    end = Record.of(whole)
    draw = random.Random(part)
    first_of_kind = {event.kind: event.seq for event in reversed(whole)}
    lost = sorted(
        {*first_of_kind.values(), *draw.sample(range(1, len(lines)), 12)} - {0, len(lines) - 1}
    )[part::4]
    for number in lost:
        folder = tmp_path / str(number)
        folder.mkdir()
        record = mended(folder, b"".join([*lines[:number], *lines[number + 1 :]]), whole)
        for key, run in record.runs.items():  # a part of each run's own history, or all of it
            assert end.runs[key].epochs[: len(run.epochs)] == run.epochs
            assert run.rungs.items() <= end.runs[key].rungs.items()
            if run.status == "complete":
                assert (run.epochs, run.test_acc) == (end.runs[key].epochs, end.runs[key].test_acc)
        again = drive(
            open_plan(folder, study), Worker(diverges=lambda config: config.model.dropout > 0.4)
        )
        assert len(again.trial_keys) == len(end.trial_keys)
        # a trial that lost its way may leave other ones the best; their race is another
        raced_anew = name == "raced" and again.race.candidates != end.race.candidates
        own = {(r.arm, r.replicate) for r in again.runs.values() if r.kind == "arm" and r.arm}
        arms = {(r.arm, r.replicate) for r in end.runs.values() if r.kind == "arm"}
        assert len(own) == len(arms)
        assert own == arms or raced_anew
        assert not [
            run.key for run in again.runs.values() if run.status in ("new", "running", "failed")
        ]
        if name != "tuned" and not raced_anew:
            assert facts(again)[1] == facts(end)[1]
        if name == "raced" and not raced_anew:
            laps, former = (
                {(r.number, r.replicate): r.status for r in one.trials(RACE)}
                for one in (again, end)
            )
            assert laps == former, "the race's runs are all there"
            assert again.race.winner == end.race.winner


@st.composite
def damages(draw: st.DrawFn, lines: list[bytes]) -> bytes:
    """The ledger with a byte flipped, cut anywhere, a line dropped, written twice, swapped, made
    zeros; or several of it.
    """
    for _ in range(draw(st.integers(1, 3))):
        if not lines:
            break
        place = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["flip", "cut", "drop", "twice", "swap", "zeros", "rubbish"])):
            case "flip":
                line = bytearray(lines[place])
                line[draw(st.integers(0, len(line) - 1))] ^= 1 << draw(st.integers(0, 7))
                lines = [*lines[:place], bytes(line), *lines[place + 1 :]]
            case "cut":
                lines = [*lines[:place], lines[place][: draw(st.integers(0, len(lines[place])))]]
            case "drop":
                lines = [*lines[:place], *lines[place + 1 :]]
            case "twice":
                lines = [*lines[:place], lines[place], *lines[place:]]
            case "swap":
                other = draw(st.integers(0, len(lines) - 1))
                lines = list(lines)
                lines[place], lines[other] = lines[other], lines[place]
            case "zeros":
                lines = [*lines[:place], b"\0" * len(lines[place]) + b"\n", *lines[place + 1 :]]
            case "rubbish":
                lines = [*lines[:place], draw(st.binary(max_size=60)) + b"\n", *lines[place:]]
        lines = b"".join(lines).splitlines(keepends=True)
    return b"".join(lines)


RECORDED_LINES = lines_of(RECORDED)


@settings(
    derandomize=True,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(content=damages(RECORDED_LINES))
def test_a_hurt_ledger_is_read_whole_or_cut_or_refused_and_mended_of_its_own_events(
    tmp_path_factory, content
):
    first = unseal(RECORDED_LINES[0])
    whole = list(read_events(RECORDED))
    folder = tmp_path_factory.mktemp("damaged")
    (folder / FILE).write_bytes(content)
    try:
        with Ledger(folder) as ledger:
            assert ledger.events == whole[: len(ledger.events)]
        after = (folder / FILE).read_bytes()
        tail = b"".join(path.read_bytes() for path in folder.glob(f"{FILE}.cut*"))
        assert after + tail == content
        assert tail.count(b"\n") <= 1
    except MachineError:
        assert (folder / FILE).read_bytes() == content
        heads = content.splitlines(keepends=True)
        if any(restored(line) == first or line == RECORDED_LINES[0] for line in heads):
            mended(folder, content, whole)
        else:
            with pytest.raises(MachineError, match="its first event"):
                mend(folder)
            assert (folder / FILE).read_bytes() == content
    finally:
        shutil.rmtree(folder)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.data())
def test_a_single_wrong_byte_anywhere_is_given_back_by_the_checksum(data):
    line = data.draw(st.sampled_from([RECORDED_LINES[0], *RECORDED_LINES[10:14]]))
    place = data.draw(st.integers(0, len(line) - 2))
    hurt = bytearray(line)
    hurt[place] ^= data.draw(st.integers(1, 255))
    found = restored(bytes(hurt))
    assert found == unseal(line)
    for also in data.draw(
        st.lists(st.integers(0, len(line) - 1), min_size=1, max_size=40, unique=True)
    ):
        hurt[also] = 0
    assert restored(bytes(hurt)) in (None, found)


def test_a_ledger_with_a_wrong_byte_in_its_header_and_in_another_line_loses_nothing(
    tmp_path, capsys
):
    content = bytearray(b"".join(RECORDED_LINES))
    for place in (100, len(RECORDED_LINES[0]) + 50):
        content[place] ^= 255
    record = mended(tmp_path, bytes(content), list(read_events(RECORDED)))
    assert (tmp_path / FILE).read_bytes().startswith(b"".join(RECORDED_LINES))
    assert record.repairs[0].restored == 2
    assert "restored by the checksum: 2 lines" in capsys.readouterr().out


def test_lines_in_another_order_or_written_twice_are_all_kept(tmp_path, capsys):
    lines = RECORDED_LINES
    content = b"".join([lines[0], lines[2], lines[1], lines[2], *lines[3:], lines[-1]])
    whole = list(read_events(RECORDED))
    mended(tmp_path, content, whole)
    assert (tmp_path / FILE).read_bytes().startswith(b"".join(lines))
    assert f"kept: {len(lines)} events" in capsys.readouterr().out


def test_where_two_writers_parted_nothing_that_comes_later_is_kept(tmp_path):
    lines, whole = RECORDED_LINES, list(read_events(RECORDED))
    other = seal({"seq": 20, "time": 1.0, "type": "finish", "status": "interrupted"})
    record = mended(tmp_path, b"".join([*lines[:21], other, *lines[21:]]), whole)
    assert len(list(read_events(tmp_path))) == 21
    assert record.repairs[0].left_out


def test_a_sealed_line_that_is_no_event_of_a_study_is_mended_like_damage(tmp_path):
    folder = tmp_path / "study"
    whole = list(read_events(RECORDED))
    strange = {"seq": len(whole), "time": 1.0, "type": "epoch", "run": "nobody", "metrics": {}}
    folder.mkdir()
    record = mended(folder, b"".join([*RECORDED_LINES, seal(strange)]), whole)
    assert record.runs == Record.of(whole).runs


def test_mlflow_is_told_anew_and_a_newer_format_or_no_ledger_is_refused(tmp_path):
    content = b"".join(RECORDED_LINES[:5] + RECORDED_LINES[6:])
    (tmp_path / "mlflow.json").write_text("{}")
    mended(tmp_path, content, list(read_events(RECORDED)))
    assert not (tmp_path / "mlflow.json").exists()
    assert (tmp_path / "mlflow.json.damaged1").read_text() == "{}"
    newer = seal({"seq": 0, "time": 1.0, "type": "study", "format": 99}) + b"\n"
    (tmp_path / FILE).write_bytes(newer)
    with pytest.raises(UserError, match="newer version"):
        mend(tmp_path)
    assert (tmp_path / FILE).read_bytes() == newer
    with pytest.raises(UserError, match=r"no ledger\.jsonl is"):
        main([str(tmp_path / "nowhere")])
    assert not (tmp_path / "nowhere").exists()


def test_a_study_in_use_is_not_mended(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.append(Note())
        with pytest.raises(MachineError, match="in use"):
            mend(tmp_path)


def test_the_report_tells_of_a_repair_in_both_languages(tmp_path):
    content = b"".join(RECORDED_LINES[:30] + RECORDED_LINES[31:])
    record = mended(tmp_path, content, list(read_events(RECORDED)))
    texts = [
        block.text for block in provenance.blocks(record, record.study) if isinstance(block, Text)
    ]
    (said,) = [
        text for text in texts if "The ledger was damaged and has been mended: 1 event lost" in text
    ]
    say = Translator(catalogue("zh"))
    assert "账本曾损坏并已修复：丢失 1 个事件" in say.text(said)
    assert not say.missed


def test_code_that_a_repair_lost_the_description_of_is_todays_or_refused():
    record = Record.of(read_events(RECORDED))
    runs = list(record.runs.values())
    (now,) = {digest(code(TrainConfig.parse(runs[0].config, source="test")))}
    runs[0].code = [now]
    assert changed_since(record, runs[:1]) == []
    runs[0].code = ["of another version"]
    assert changed_since(record, runs[:1]) == [LOST]
