"""Archive: the arrays of an .npz file, by their headers first; mapped where they lie in it
unpacked, never unpickled.
"""

import io
import math
import os
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from pipeline.data.files import open_file
from pipeline.data.room import require_room
from pipeline.errors import UserError, printable

MAX_DIRECTORY = 2**20  # bytes that list the arrays: some 10,000
MAX_HEADER = 10_000  # NumPy's own bound, which it looks at after reading
CRC_BYTES = 2**24


@dataclass(frozen=True)
class Header:
    """What one array says of itself. `begin`: where its values begin in its member."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    begin: int

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class Archive:
    """An .npz file, opened; to be closed. Raises UserError where it is none, or cannot be."""

    def __init__(self, path: Path) -> None:
        self.path, self.where = path, f"data: {printable(path)}"
        try:
            self._file = open_file(path)
            self._check_directory()
            self._zip = zipfile.ZipFile(self._file)
        except (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile) as error:
            raise UserError(f"{self.where}: not an .npz archive: {printable(error)}") from error
        self.names = [
            name.removesuffix(".npy") for name in self._zip.namelist() if name.endswith(".npy")
        ]

    def close(self) -> None:
        """Let go of the file; what was mapped of it stays."""
        self._zip.close()
        self._file.close()

    def header(self, key: str) -> Header:
        """What an array says of itself; raises UserError where that is no sound array of numbers or
        words.
        """
        info = self._zip.getinfo(f"{key}.npy")
        try:
            with self._zip.open(info) as member:
                found = _header(member)
        except Exception as error:  # zipfile, zlib and numpy raise many kinds on damaged files
            raise UserError(
                f"{self.where}: '{printable(key)}' cannot be read: {printable(error)}"
            ) from error
        if found.dtype.hasobject:
            raise UserError(
                f"{self.where}: '{printable(key)}' holds Python objects, which could run anything "
                "and are not read; save it as an array of numbers or words"
            )
        if found.begin + found.num_bytes != info.file_size:
            raise UserError(
                f"{self.where}: '{printable(key)}' cannot be read: "
                f"{info.file_size - found.begin:,} bytes, where {list(found.shape)} of "
                f"{found.dtype} are {found.num_bytes:,}"
            )
        return found

    def require_room(self, keys: list[str]) -> None:
        """Raise an error unless the packed ones of these arrays fit into memory, together."""
        packed = [self._zip.getinfo(f"{key}.npy") for key in keys]
        packed = [info for info in packed if info.compress_type != zipfile.ZIP_STORED]
        sizes = [(info.file_size, info.compress_size) for info in packed]
        require_room(
            self.where, sizes, "save it with np.savez, unpacked: then it is read from the disk"
        )

    def load(self, key: str) -> npt.NDArray[Any]:
        """An array, mapped (changes of it stay in memory) or read; raises UserError where it is
        damaged.
        """
        header, info = self.header(key), self._zip.getinfo(f"{key}.npy")
        try:
            if info.compress_type == zipfile.ZIP_STORED and header.num_bytes:
                return self._mapped(header, info)
            with self._zip.open(info) as member:
                return npy.read_array(member, allow_pickle=False)
        except MemoryError:
            raise
        except Exception as error:  # as above
            raise UserError(
                f"{self.where}: '{printable(key)}' cannot be read: {printable(error)}"
            ) from error

    def _mapped(self, header: Header, info: zipfile.ZipInfo) -> npt.NDArray[Any]:
        self._file.seek(info.header_offset)
        own = struct.unpack("<4s22xHH", self._file.read(30))
        begin = info.header_offset + 30 + own[1] + own[2]
        self._file.seek(begin)
        left, crc = info.file_size, 0
        while left:
            if not (content := self._file.read(min(left, CRC_BYTES))):
                raise ValueError("cut short")
            left, crc = left - len(content), zlib.crc32(content, crc)
        if crc != info.CRC:
            raise ValueError("its checksum does not fit")
        order = "F" if header.fortran else "C"
        return np.memmap(self.path, header.dtype, "c", begin + header.begin, header.shape, order)  # type: ignore[call-overload]

    def _check_directory(self) -> None:
        """Raise ValueError where the list of arrays is so long that reading it takes all memory."""
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(max(0, size - 2**16 - 22))
        end = self._file.read()
        at = end.rfind(b"PK\5\6")
        if (
            at >= 0
            and len(end) >= at + 22
            and struct.unpack_from("<I", end, at + 12)[0] > MAX_DIRECTORY
        ):
            raise ValueError("it lists too many files")


def _header(member: Any) -> Header:
    begin = member.read(12)
    version = begin[6]
    length, before = struct.unpack_from("<H", begin, 8)[0] + 10, 10
    if version > 1:
        length, before = struct.unpack_from("<I", begin, 8)[0] + 12, 12
    if length - before > MAX_HEADER:
        raise ValueError(f"a header of {length - before:,} bytes")
    file = io.BytesIO(begin + member.read(length - 12))
    reader = {1: npy.read_array_header_1_0, 2: npy.read_array_header_2_0}[npy.read_magic(file)[0]]
    shape, fortran, dtype = reader(file)
    if any(side < 0 for side in shape):
        raise ValueError(f"shape {list(shape)}")
    return Header(shape, fortran, dtype, length)
