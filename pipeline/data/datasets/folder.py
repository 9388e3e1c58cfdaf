"""Photos in folders."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from pipeline.data.datasets.base import (
    Channels,
    GroupPattern,
    MaxMegapixels,
    MaxUnreadable,
    MinPictures,
    Photos,
    Side,
    TestShare,
    ValidShare,
)
from pipeline.data.folder import require_folder, walk
from pipeline.data.layouts import Rules, list_pictures
from pipeline.data.listing import FIRST_RULES, Listing


class Folder(Photos):
    """Photos in a folder, brought to `size` x `size`.

    Both sides become `size`: the aspect ratio is not kept, as in the course's own `Resize((128,
    128))`. Pictures in a folder `unlabeled` of the training part are listed without a label.
    """

    name: Literal["folder"] = "folder"
    layout: Literal["auto", "hw3", "classes"] = "auto"
    label_from: Literal["folders", "name"] = Field(
        default="folders",
        description="name: the start of each file's name, as in cat.0.jpg or Abyssinian_1.jpg",
    )
    splits: Literal["auto", "none"] = Field(
        default="auto", description="none: no folder is a split, whatever its name; each is a class"
    )
    group_pattern: GroupPattern = ""
    group_table: str = Field(
        default="", description="table (file, subject) in the folder, in place of a pattern"
    )
    group_column: str = Field(default="", description="of the table; empty: its other column")
    min_pictures: MinPictures = 0
    size: Side = 128
    channels: Channels = 3
    valid_share: ValidShare = 0.15
    test_share: TestShare = 0.15
    max_unreadable: MaxUnreadable = 0.01
    max_megapixels: MaxMegapixels = 50

    def scan(self, root: Path | None) -> Listing:
        """List the pictures below `root` without decoding; raises UserError."""
        own = {
            name: getattr(self, name)
            for name in Rules.__dataclass_fields__
            if name in type(self).model_fields
        }
        rules = Rules(**own, trusting=self.reading.rules == FIRST_RULES)
        return list_pictures(walk(require_folder(root), self.reading.rules), rules)
