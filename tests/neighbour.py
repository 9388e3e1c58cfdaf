"""Another user of this machine at Ray's door: `python tests/neighbour.py PORT FOLDER TOKEN`, by
root.

Prints what it could do: `owner` has the token and the user id of the one who runs Ray, `neighbour`
neither.
"""

import os
import secrets
import sys
from pathlib import Path

os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": sys.argv[3]}

from ray._raylet import AuthenticationTokenLoader, GcsClient

NOBODY = 65534


def knock(who: str, port: str, folder: Path) -> None:
    """Try all that lets one user run code as another."""
    try:
        GcsClient(f"127.0.0.1:{port}").internal_kv_keys(b"", namespace=b"fun", timeout=10)
        print(who, "read what workers will unpickle")
    except Exception as error:
        print(who, "was refused:", str(error).splitlines()[0])
    for name, attempt in {
        "listed": lambda: os.listdir(folder),
        "listed Ray's": lambda: os.listdir(folder / "r"),
        "renamed": lambda: os.rename(folder / "r", folder / "s"),
        "moved": lambda: os.rename(folder, f"{folder}-mine"),
        "wrote in": lambda: (folder / "r" / "mine").touch(),
    }.items():
        if who == "owner" and name != "listed Ray's":
            continue
        try:
            attempt()
            print(who, name, "the folder")
        except OSError:
            pass


if __name__ == "__main__":
    port, folder = sys.argv[1], Path(sys.argv[2])
    knock("owner", port, folder)
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    AuthenticationTokenLoader.instance().reset_cache()
    knock("neighbour", port, folder)
