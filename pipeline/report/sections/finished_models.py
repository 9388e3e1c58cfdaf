"""Finished models that were changed before they were judged: compressed, or averaged over views."""

from math import nan
from statistics import median

from pipeline.analysis.results import Ablation, ArmRow
from pipeline.analysis.wording import NONE
from pipeline.core.finished.final import MAX_REPEATS, MIN_REPEATS, WARM_UPS
from pipeline.record.record import Record
from pipeline.report.document import Table, table
from pipeline.report.sections.costs import hardware
from pipeline.report.sections.sentences import points, spread_text


def finished_models(ablation: Ablation, record: Record) -> Table:
    """What compression and test-time views did to the trained models: each beside the same model as
    it was trained.
    """
    shown, rows = points(ablation), []
    column = ablation.judged.column
    name = column.removeprefix("last_")  # measured at the best epoch alone
    for row in ablation.rows:
        judged = row.values if name == column else row.metric(name)
        plain = _finals(row, f"plain_{name}")
        sizes, latencies = _finals(row, "size_bytes"), _finals(row, "latency_seconds")
        share = sum(sizes) / sum(_finals(row, "plain_size_bytes")) if sizes else nan
        before = _finals(row, "plain_latency_seconds")
        cells = [row.arm, spread_text(judged, shown), spread_text(plain, shown) if plain else NONE]
        cells += [f"{median(sizes) / 1e6:.2f} ({share:.0%})" if sizes else NONE]
        cells += [_milliseconds(before), _milliseconds(latencies)]
        rows.append(tuple(cells))
    caption = (
        "Finished models as they were judged, beside the same models as trained. Latency: median "
        f"time to classify one picture on one CPU thread, all its views, over {MIN_REPEATS} to "
        f"{MAX_REPEATS} passes after {WARM_UPS} to warm up, median, range and number of the runs; "
        f"on {hardware(record)}, while other runs may have trained. None where integers were only "
        "simulated."
    )
    unit = ablation.judged.unit
    title = ablation.judged.short.removeprefix("last ") + "†" * (not ablation.judged.held_out)
    titles = (
        "arm",
        f"{title}{unit}",
        f"{title} as trained{unit}",
        "size (MB, share)",
        "latency as trained (ms), median (range; n)",
        "latency (ms), median (range; n)",
    )
    return table(caption, titles, rows, aligns="lrrrrr")


def _milliseconds(seconds: list[float]) -> str:
    """`2.04 (1.98–2.31; 5)`: median, range and number of the runs."""
    if not seconds:
        return NONE
    low, middle, high = (f"{found(seconds) * 1e3:.2f}" for found in (min, median, max))
    return f"{middle} ({low}–{high}; {len(seconds)})" if len(seconds) > 1 else f"{middle} (1)"


def _finals(row: ArmRow, name: str) -> list[float]:
    return [run.final[name] for run in row.complete if run.final.get(name) is not None]
