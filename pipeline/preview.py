"""What a command would do, in words and numbers, without doing it (`--dry-run`)."""

from pathlib import Path

from pipeline.errors import printable
from pipeline.scheduler import rung_epochs
from pipeline.study import Study


def preview(study: Study, data: Path | None, note: str, folder: Path, *, with_search: bool) -> str:
    """Trials, rungs and space; arms x replicates; epochs; where it would write."""
    search, ablation = study.search, study.ablation
    arms = study.arms()
    lines = [f"study      {study.name}: {study.title}", f"pictures   {data or study.baseline.dataset.name}"]
    lines += [f"note       {note}"] if note else []
    if with_search:
        rungs = rung_epochs(study.baseline.epochs, search.reduction, search.num_rungs)
        way = f"{search.sampler}, {search.scheduler}, seed {search.seed}"
        lines.append(f"search     {search.num_trials} trials ({way}); rungs at epochs {', '.join(map(str, rungs))}")
        lines += [f"             {name}: {ranges}" for name, ranges in study.space.table()]
    epochs = sum(config.epochs for _, config in arms) * ablation.replicates
    runs = f"{len(arms)} arms x {ablation.replicates} replicates = {len(arms) * ablation.replicates} runs"
    lines.append(f"ablation   {runs}, {epochs} epochs")
    lines += [f"             {arm.name}: {dict(arm.overrides) or 'the baseline'}" for arm, _ in arms]
    lines += [f"writes to  {folder}", "dry run: nothing was trained or written"]
    return "\n".join(printable(line, 500) for line in lines)
