"""What a command would do, in words and numbers, without doing it (`--dry-run`)."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from pipeline.analysis.few_pictures import few_pictures, listed_as
from pipeline.analysis.preregistration import (
    assigned,
    awaited,
    column,
    outline,
    raced,
    runs_in_words,
)
from pipeline.analysis.preregistration import lines as lines_of
from pipeline.analysis.wording import race_in_words
from pipeline.counts import plural
from pipeline.data.listing import FIRST_RULES, Listing, Reading, as_recorded
from pipeline.errors import printable
from pipeline.record.record import Record
from pipeline.screen import folded
from pipeline.session.about import about_of, compare
from pipeline.session.allowance import allowed, is_spent
from pipeline.session.crew import Crew
from pipeline.session.options import Options
from pipeline.session.preflight import external_files, require_inputs, to_download
from pipeline.session.resolve import Chosen, resolve, with_matched
from pipeline.session.resume import (
    changed_since,
    recorded_in,
    require_settings,
    tell_growth,
)
from pipeline.session.similar import warm_start
from pipeline.session.so_far import so_far
from pipeline.study.around import Around
from pipeline.study.judged import Judged
from pipeline.study.looks import last_look, looks
from pipeline.study.objectives import against
from pipeline.study.schedulers import Ladder
from pipeline.study.search import NUM_FIRST
from pipeline.study.study import Study
from pipeline.study.survey import never_drawn
from pipeline.study.tuning import Fixed, num_trials
from pipeline.study.variance import Layout


def dry_run(
    options: Options,
    asked: Chosen,
    folder: Path,
    hire: Callable[[], AbstractContextManager[Crew]],
    *,
    with_search: bool,
) -> Iterator[str]:
    """`preview`, after a look at what is recorded in the study's folder, at the pictures where they
    are at hand and at the files that runs need, also those to be downloaded; then how long that
    takes. Raises UserError.
    """
    recorded = Record() if options.fresh else recorded_in(folder)
    study = resolve(options, asked, recorded)
    require_settings(recorded, study, folder)
    listing = listed(study, asked, recorded)
    found = listing.taken if listing else None
    options, warm = warm_start(options, asked, study, recorded, found)
    study = resolve(options, asked, recorded)
    if listing and study.ablation.match and not recorded.begun:
        base = study.baseline.dataset
        study = with_matched(study, base.channels, base.size, len(listing.classes))
    taken = ""
    if listing:
        few = few_pictures(listed_as(listing.taken), study)
        taken = listing.taken.text((*few, *listing.warnings))
    external_files(study)
    lacking = to_download(study, asked.data)
    taken += "".join(f"\ndownload   not here yet, needs a network once: {file}" for file in lacking)
    if listing and not lacking:  # what is still to come is looked at once it is there
        _require(study, listing, options)
    taken += "".join(f"\nset        {one}{_also(one, study)}" for one in options.sets)
    changed = changed_since(recorded, recorded.runs.values())
    shown = preview(
        study,
        asked.data,
        asked.note,
        folder,
        taken,
        with_search=with_search,
        changed=changed,
        begun=recorded.begun is not None,
    )
    known = so_far(recorded, study, with_search=with_search)
    said = (*tell_growth(recorded, study, folder), *([f"recorded   {known}"] if known else ()))
    said += (*warm.splitlines(), *compare(about_of(options), recorded))
    yield "\n".join((*map(folded, said), shown))
    if listing is not None and not changed:
        from pipeline.session.forecast import foreseen

        with hire() as crew:
            hours: list[str] = []
            options = allowed(options, recorded, crew.means, hours.append)
            yield from map(folded, hours)
            if not is_spent(options):
                lines = foreseen(study, recorded, listing, options, crew, with_search=with_search)
                yield from map(folded, lines)
    yield "dry run: nothing was trained or written"


def _require(study: Study, listing: Listing, options: Options) -> None:
    """Raise UserError as the command would once its pictures are read."""
    from pipeline.data.unread import unread  # numpy takes a while to import

    pictures = unread(study.baseline.dataset, listing)
    require_inputs(study, pictures, max(1, int(options.gpus_per_trial or 1)))


def _also(given: str, study: Study) -> str:
    """What a `--set` of the baseline alone leaves to the search."""
    key = given.partition("=")[0].strip().removeprefix("baseline.")
    searched = study.search.num_trials and key in study.space.knobs
    varied = f" (of the arms; the search still varies it: space.knobs.{key}=null ends that)"
    return varied * bool(searched)


def preview(
    study: Study,
    data: Path | None,
    note: str,
    folder: Path,
    taken: str = "",
    *,
    with_search: bool,
    changed: Sequence[str] = (),
    begun: bool = False,
) -> str:
    """What is `taken` of the pictures ('': not known before they are there) and set; trials, rungs
    and space; arms x replicates; epochs; where it would write.

    changed: files of the code that are not those of the recorded runs, for which nothing more would
    be trained. begun: whether something is recorded of the study, so that the plan is no first one.
    """
    ablation = study.ablation
    arms = study.arms()
    lines = (
        [f"refused    where more is to be trained: the code has changed, {', '.join(changed)}"]
        if changed
        else []
    )
    lines += [
        f"study      {study.name}: {study.title}",
        f"pictures   {data or study.baseline.dataset.name}",
    ]
    lines += filter(None, taken.splitlines())
    lines += [f"note       {note}"] if note else []
    lines += _searched(study) if with_search else []
    lines += _tuning(study)
    epochs = sum(config.epochs for _, config in arms)
    runs = runs_in_words(len(arms), ablation.replicates)
    runs += f", {plural(epochs * ablation.replicates, 'epoch')}"
    if (least := looks(ablation.replicates)[:1]) and ablation.until_answered:
        runs = f"at least {runs_in_words(len(arms), *least)}, {plural(epochs * least[0], 'epoch')};"
        most = last_look(ablation.replicates)
        runs += f" at most {runs_in_words(len(arms), most)}, {plural(epochs * most, 'epoch')}"
    lines.append(f"ablation   {runs}")
    if ablation.replicates < 3:
        lines.append(
            "             with fewer than 3 replicates values are shown and nothing is tested"
        )
    lines += [f"             {arm.name}: {assigned(arm.overrides)}" for arm, _ in arms]
    lines += _variance(study)
    plan = outline(study)
    said = [
        line
        for line in (*lines_of(plan), *(() if begun else (("pilot", awaited(plan)),)))
        if line[0] not in ("runs", "arms", "race")
    ]
    lines += [
        "plan.md would say:" if begun else "plan.md would say, before anything is trained:",
        *(f"  {line}" for line in column(said)),
    ]
    lines.append(f"writes to  {folder}")
    return "\n".join(folded(printable(line, 500)) for line in lines)


def _searched(study: Study) -> list[str]:
    """The study's own search: how many trials of what, and the race."""
    search, length = study.search, study.baseline.epochs
    if not search.num_trials:
        return ["search     none: the study compares its arms alone"]
    way = f"{search.sampler}, {search.scheduler}, seed {search.seed}"
    epochs = plural(round(search.num_trials * search.ladder.expected(length)), "epoch")
    about = "about " * (search.ladder.num_rungs > 1)
    replicates, by_looks = study.ablation.replicates, study.ablation.until_answered
    race = race_in_words(raced(study), replicates, search.objectives, length, by_looks=by_looks)
    return [
        f"search     {plural(search.num_trials, 'trial')} ({way}); "
        f"{_rungs(search.ladder, length)}; {about}{epochs}",
        *_objectives(study),
        *(f"             {name}: {ranges}" for name, ranges in study.space.table()),
        *(f"             {line}" for line in never_drawn(Around(study.space, study.baseline))),
        *_first(study),
        f"race       {race}",
    ]


def _objectives(study: Study) -> list[str]:
    """What is kept low beside the metric."""
    if not (names := study.search.objectives):
        return []
    more = "; who goes on from a rung is chosen by all of them" * (
        study.search.ladder.num_rungs > 1
    )
    return [f"objectives {Judged.of(study.baseline).val} against {against(names)}{more}"]


def _first(study: Study) -> list[str]:
    """The points that are tried right after the baseline."""
    search = study.search
    sources = (
        (search.first, "of the study's own"),
        (Around(study.space, study.baseline).within(search.warmed), "of another study"),
        (study.from_portfolio, "good on other pictures"),
        (study.from_past[:NUM_FIRST], f"the best of {search.past_of}"),
    )
    points, room = [point for own, _ in sources for point in own], max(search.num_trials - 1, 0)
    if not points:
        return []
    (own, words), *others = [(own, words) for own, words in sources if own]
    said = " and ".join(
        (f"{plural(len(own), 'point')} {words}", *(f"{len(o)} {w}" for o, w in others))
    )
    lines = [f"first      after the baseline {said}:"]
    lines += [f"             trial {n}: {assigned(p)}" for n, p in enumerate(points[:room], 1)]
    if left := len(points[room:]):
        lines.append(
            f"             search.num_trials={search.num_trials} leaves no room for {left} more"
        )
    return lines


def _rungs(ladder: Ladder, epochs: int) -> str:
    """A short study has only the last ones of its rungs."""
    if ladder.num_rungs == 1:
        return "every trial is trained in full"
    stops = ladder.stops(epochs)
    said = f"rungs at epochs {', '.join(map(str, stops))}"
    if len(stops) < ladder.num_rungs:
        last = f"the last {len(stops)}" if len(stops) > 1 else "the last"
        said += f" ({last} of {ladder.num_rungs} rungs: runs are too short for earlier ones)"
    begun = Counter[int]()
    for rung, share in enumerate(ladder.begin):
        begun[ladder.stop(epochs, max(rung, ladder.first(epochs)))] += round(100 * share)
    if len(begun) > 1:
        first = ", ".join(f"{share} % at {stop}" for stop, share in begun.items())
        said += f", of the trials first judged {first}"
    return said


def listed(study: Study, asked: Chosen, record: Record) -> Listing | None:
    """The pictures that are asked for, by the rules that a study was recorded by, and its classes
    in the recorded order; None where that would begin a download. Raises UserError as listing them
    does.
    """
    dataset = study.baseline.dataset
    if record.begun:
        dataset = dataset.read_by(Reading(**record.data.get("reading", {"rules": FIRST_RULES})))
    if not dataset.at_hand:
        return None
    known = record.data if record.begun else asked.searched or {}
    return as_recorded(dataset.scan(asked.data), known.get("classes", ()))


def _variance(study: Study) -> list[str]:
    """The runs that tell the sources of variance apart."""
    layout = Layout.of(study)
    if not layout.num_levels:
        return []
    added = layout.num_added(study.ablation.replicates)
    most = "at least " * study.ablation.until_answered
    return [
        f"variance   {plural(layout.num_levels, 'replicate')} of {layout.arm} taken apart into "
        f"{', '.join(layout.sources[::-1])}: {most}{plural(added, 'run')} beside the arms', "
        f"{plural(added * study.baseline.epochs, 'epoch')}"
    ]


def _tuning(study: Study) -> list[str]:
    """The searches of the arms: how many trials of what, arm by arm."""
    targets, ladder = study.targets(), study.search.ladder
    if isinstance(study.ablation.tuning, Fixed):
        return ["tuning     fixed: every arm takes the baseline's hyperparameters"]
    trials = sum(target.num_trials for target in targets)
    epochs = sum(target.num_trials * ladder.expected(target.config.epochs) for target in targets)
    sizes = " + ".join(map(str, num_trials(study.ablation.tuning, study.ablation.replicates)))
    lines = [
        f"tuning     {study.ablation.tuning.name}: {sizes} trial{'s' * (sizes != '1')} for each "
        f"arm, {trials} in all, about {plural(round(epochs), 'epoch')}"
    ]
    arms: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for arm, (_, space) in study.spaces().items():
        arms.setdefault(tuple(space.table()) if space else (), []).append(arm)
    for ranges, names in arms.items():
        whose = "every arm" if len(arms) == 1 else ", ".join(names)
        lines.append(
            f"             {whose}:" + ("" if ranges else " nothing of the space is left to tune")
        )
        lines += [f"               {name}: {text}" for name, text in ranges]
    return lines
