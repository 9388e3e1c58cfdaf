"""Photos in folders."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.data.datasets.base import Channels, MaxUnreadable, PictureSet, Side, TestShare, ValidShare, share_of
from pipeline.data.folder import require_folder, walk
from pipeline.data.layouts import list_pictures
from pipeline.data.listing import Listing

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Folder(PictureSet):
    """Photos in a folder, brought to `size` x `size`.

    Both sides become `size`: the aspect ratio is not kept, as in the course's own `Resize((128, 128))`. Pictures in a
    folder `unlabeled` of the training part are listed without a label.
    """

    name: Literal["folder"] = "folder"
    layout: Literal["auto", "hw3", "classes"] = "auto"
    size: Side = 128
    channels: Channels = 3
    valid_share: ValidShare = 0.15
    test_share: TestShare = 0.15
    max_unreadable: MaxUnreadable = 0.01

    def num_unreadable_allowed(self, total: int) -> int:
        """How many of `total` pictures may be unreadable before the set is refused."""
        return share_of(total, self.max_unreadable)

    def scan(self, root: Path | None) -> Listing:
        """List the pictures below `root` without decoding; raises UserError."""
        return list_pictures(walk(require_folder(root)), self.layout, self.valid_share, self.test_share)

    def read(self, listing: Listing, row: int) -> "tuple[npt.NDArray[np.uint8], str]":
        """(pixels uint8 [channels, size, size], SHA-256 of the file's bytes) of one picture; raises BadPicture."""
        from pipeline.data.decode import read_picture

        assert listing.root is not None
        return read_picture(listing.root / listing.files[row], self.size, self.channels)
