"""A run's epochs: which of them is the best, and whether a better one is still waited for."""

from collections.abc import Mapping, Sequence

Epoch = dict[str, float]


def best_epoch(history: Sequence[Mapping[str, float]], by: str = "val_acc", sign: int = 1) -> int:
    """The epoch that has the most of `by`, where `sign` is -1 the least; ties go to the lower
    val_loss, then to the earlier epoch; 0 without epochs.
    """
    if not history:
        return 0
    best = min(history, key=lambda epoch: (-sign * epoch[by], epoch["val_loss"], epoch["epoch"]))
    return int(best["epoch"])


def level(history: Sequence[Mapping[str, float]], epoch: int, by: str = "val_acc") -> float:
    """Where `by` stands at an epoch: the mean over the last ninth of the epochs up to it, of one
    at least. A single epoch's value is as much its wiggle as the run's worth.
    """
    last = history[epoch - max(1, round(epoch / 9)) : epoch]
    return sum(one[by] for one in last) / len(last)


def exhausted(
    history: Sequence[Mapping[str, float]], patience: int, by: str = "val_acc", sign: int = 1
) -> bool:
    """Whether the last `patience` epochs brought no better one (early stopping; Prechelt 1998);
    never for patience 0.
    """
    return patience > 0 and len(history) - best_epoch(history, by, sign) >= patience
