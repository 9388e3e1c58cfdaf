"""Room: whether what lies packed in a file may be unpacked into memory."""

from collections.abc import Iterable

from pipeline.counts import plural
from pipeline.errors import MachineError, UserError
from pipeline.limits import available_bytes

SMALL_BYTES = 256 * 2**20
MOST_RATIO = 250  # pictures pack to a half; the emptiest of drawings to a hundredth
ROW_BYTES = 500  # what a picture takes in the listing, whatever its size: name, label, part, stamp


def require_room(where: str, sizes: Iterable[tuple[int, int]], instead: str) -> None:
    """`sizes`: (bytes unpacked, bytes packed) of all that will be held at once, by their headers.

    Raises UserError where so much comes from so little that it is nothing but one value,
    MachineError where it is more than half of the memory that is free; `instead` says what to do
    then.
    """
    total, packed = (sum(column) for column in zip((0, 0), *sizes, strict=True))
    if total > max(SMALL_BYTES, MOST_RATIO * packed):
        raise UserError(
            f"{where}: {total / 1e9:.1f} GB are packed in {packed / 1e6:.1f} MB: these are no "
            "pictures"
        )
    free = available_bytes()
    if total > max(SMALL_BYTES, free // 2):
        raise MachineError(
            f"{where}: {total / 1e9:.1f} GB when unpacked, and {free / 1e9:.1f} GB of memory are "
            f"free, of which it may take half; {instead}"
        )


def require_rows(where: str, num: int, num_bytes: int) -> None:
    """Raise UserError where a file of `num_bytes` has more pictures, by its header, than it can
    hold: a header may say any number, and pictures of no or few pixels pack to nothing, but each is
    listed."""
    if num * ROW_BYTES > max(SMALL_BYTES, MOST_RATIO * num_bytes):
        raise UserError(
            f"{where}: {plural(num, 'picture')} in {num_bytes / 1e6:.1f} MB: these are no pictures"
        )
