"""What every dataset has in common."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, PrivateAttr

from pipeline.data.listing import PARTS, Listing, Reading
from pipeline.data.taken import Source, Taken
from pipeline.errors import printable
from pipeline.frozen import Frozen
from pipeline.own.parts import short

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pipeline.data.decode import Picture

Channels = Annotated[Literal[1, 3], Field(description="1: grey, 3: RGB; pictures are converted")]
Side = Annotated[
    int,
    Field(ge=4, le=1024, description="side in pixels after resizing; the aspect ratio is not kept"),
]
ValidShare = Annotated[
    float, Field(gt=0, le=0.4, description="cut from train where no validation is given")
]
TestShare = Annotated[
    float, Field(ge=0, le=0.4, description="cut from train where no test part is given")
]
MaxUnreadable = Annotated[
    float,
    Field(
        ge=0,
        le=0.5,
        description="share of unreadable pictures to go on without (at least one; 0: none)",
    ),
]

MinPictures = Annotated[
    int, Field(ge=0, description="classes of fewer training pictures are left out; 0: none")
]
GroupPattern = Annotated[
    str,
    Field(
        description="regular expression of a picture's path; what its parentheses hold, or all "
        "that it matches, is the subject whose pictures stay on one side of every split"
    ),
]
MaxMegapixels = Annotated[
    int,
    Field(
        ge=1,
        le=4000,
        description="larger JPEGs are shrunk while they are decoded, other formats are unreadable",
    ),
]


class PictureSet(Frozen):
    """A set of pictures: `scan` lists what is there, `read` gives one picture.

    A member is one module of this package with a class that derives from this one and has a `name`
    of its own.
    """

    if TYPE_CHECKING:  # each member declares them, with its own defaults
        name: str
        size: int
        channels: Literal[1, 3]

    _reading: Reading = PrivateAttr(
        default=Reading()
    )  # no setting: a record decides on it, and what the files hold

    @property
    def reading(self) -> Reading:
        """How its pictures are found and decoded."""
        return self._reading

    def read_by(self, reading: Reading) -> Self:
        """The same set, read in another way."""
        other = self.model_copy()
        other._reading = reading
        return other

    @property
    def folder(self) -> Literal["needed", "optional", "unused"]:
        """Whether the pictures lie in a folder that the user gives."""
        return "needed"

    @property
    def at_hand(self) -> bool:
        """Whether `scan` begins no download."""
        return self.folder == "needed"

    @property
    def resized(self) -> bool:
        """Whether pictures may have to be brought to `size`, for which torch is loaded."""
        return True

    def slug(self, root: Path | None) -> str:
        """What a study on these pictures is filed under."""
        return root.resolve().name if root else str(short(self.name))

    def num_unreadable_allowed(self, total: int) -> int:  # noqa: ARG002
        """How many of `total` pictures may be unreadable before the set is refused."""
        return 0

    def to_download(self, root: Path | None) -> str:  # noqa: ARG002
        """What `scan` would have to download, and where it was looked for; '' where nothing is, or
        where that is not known.
        """
        return ""

    def scan(self, root: Path | None) -> Listing:
        """List the pictures without decoding them; raises UserError or, where a download fails,
        MachineError.
        """
        raise NotImplementedError

    def read(self, listing: Listing, row: int) -> "Picture":
        """One picture, brought to `channels` and `size`; raises BadPicture.

        Called from several threads at once.
        """
        raise NotImplementedError

    def digest(self, listing: Listing, row: int) -> str:
        """What `read` gives as one picture's digest; sets of files need not decode for it. Raises
        BadPicture.
        """
        return self.read(listing, row).digest

    def listed(
        self,
        root: Path | None,
        *,
        files: Sequence[str],
        labels: Sequence[int],
        parts: Sequence[int],
        classes: Sequence[str],
    ) -> Listing:
        """What `scan` returns of a set that says itself what is in it: names of all pictures,
        sorted; their labels, -1 = unknown; parts: 0 train, 1 valid, 2 test.
        """
        said = Source("given with the set", parts=dict.fromkeys(PARTS, "given with the set"))
        return Listing(
            root=root,
            title=title_of(root) if root else str(short(self.name)),
            layout="own",
            files=tuple(files),
            labels=tuple(labels),
            parts=tuple(parts),
            stamps=tuple(_stamp(root, name) for name in files),
            classes=tuple(classes),
            taken=Taken.of(said, tuple(classes), list(labels), list(parts)),
            warnings=(),
        )

    def picture(self, pixels: "npt.NDArray[np.uint8]") -> "Picture":
        """What `read` returns, of uint8 [C, H, W]: brought to `channels` and `size`."""
        from pipeline.data.decode import Picture, fit

        digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
        return Picture(fit(pixels, self.size, self.channels), digest)

    def close(self) -> None:
        """Let go of what `read` keeps in memory; called when the pictures are in the cache."""
        return None


class Photos(PictureSet):
    """A set whose pictures are files below the folder of its listing."""

    if TYPE_CHECKING:  # as above
        max_unreadable: float
        max_megapixels: int

    def num_unreadable_allowed(self, total: int) -> int:
        """How many of `total` pictures may be unreadable before the set is refused."""
        return share_of(total, self.max_unreadable)

    def read(self, listing: Listing, row: int) -> "Picture":
        """One picture, brought to `channels` and `size`; raises BadPicture."""
        from pipeline.data.decode import read_picture

        assert listing.root is not None
        path = listing.root / listing.files[row]
        return read_picture(
            path, self.size, self.channels, reading=self.reading, max_megapixels=self.max_megapixels
        )

    def digest(self, listing: Listing, row: int) -> str:
        """SHA-256 of one file; raises BadPicture."""
        from pipeline.data.decode import digest_of

        assert listing.root is not None
        return digest_of(listing.root / listing.files[row])


def share_of(total: int, share: float) -> int:
    """How many of `total` a share of unreadable pictures allows: at least one unless it is 0."""
    return max(1, int(share * total)) if share else 0


def _stamp(root: Path | None, name: str) -> tuple[int, int]:
    """Size and time of a file, where the picture is one."""
    try:
        found = (root / name).stat() if root else None
    except OSError:
        found = None
    return (found.st_size, found.st_mtime_ns) if found else (0, 0)


def title_of(root: Path) -> str:
    """What a folder's pictures are called."""
    return printable(root.name or "pictures", 80)
