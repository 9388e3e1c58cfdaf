"""What went wrong with MLflow, in words: whether it heals by itself, and what to do where it does
not; no password in it.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from pipeline.errors import MachineError, printable

_SECRETS = (
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "DATABRICKS_TOKEN",
    "DATABRICKS_CLIENT_SECRET",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)
_NO_KEYS = (
    *("AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken"),
    *("SignatureDoesNotMatch", "NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"),
)
_PROXIED = "the server's store of artifacts"
_NO_BUCKET = ("NoSuchBucket", "PermanentRedirect")
_OWN_STORE = "unset MLFLOW_TRACKING_URI to have the results in the folder of --mlruns"


@dataclass(frozen=True)
class Trouble:
    """`way` is what the user has to do; empty where it passes by itself, as a server that is away
    does.
    """

    what: str
    way: str = ""

    def text(self, shown: str) -> str:
        """For the store shown as `shown`: what is wrong, that nothing is lost, what to do."""
        head, kept = (
            f"MLflow at {shown}: {self.what}",
            "Nothing is lost: the ledger has it all, and ",
        )
        if not self.way:
            return f"{head}. {kept}the next command on this study sends the rest"
        mend = f"This does not pass by itself: {self.way}."
        return f"{head}. {mend} {kept}after that the next command on this study sends the rest"


class Unusable(MachineError):
    """A store that stays as it is until somebody does something."""

    def __init__(self, what: str, way: str) -> None:
        super().__init__(f"{what}; {way}")
        self.trouble = Trouble(what, way)


class Withheld(Exception):
    """Files did not get to where a run's artifacts lie, an address; the cause says why."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.place = place


def redacted(text: str) -> str:
    """A text without the users and passwords of its addresses, nor those that the environment holds
    for MLflow.
    """
    authority = re.search(
        r"://([^/?#]*)", os.environ.get("MLFLOW_TRACKING_URI", "")
    )  # also of what is no address
    secrets = {os.environ.get(name, "") for name in _SECRETS} | set(
        _passwords(authority[1] if authority else "")
    )
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) > 3:  # a shorter one would take words apart
            text = text.replace(secret, "…")
    text = anonymous(text)
    return re.sub(r"(?i)((?:password|passwd|pwd|token|secret)=)[^&\s;'\"]+", r"\1…", text)


def anonymous(text: str) -> str:
    """A text without the users and passwords of its addresses, whatever the environment holds."""
    return re.sub(r"(?<=\w://)([^/\s:@]*:(?!\d+/)\S*|[^/\s]*)@", "", text)


def _passwords(authority: str) -> list[str]:
    user, mark, _ = authority.rpartition("@")
    password = user.partition(":")[2] if mark else ""
    return [password, unquote(password)]


def refused(uri: str) -> Trouble | None:
    """What is wrong with a `MLFLOW_TRACKING_URI` that no MLflow of today takes, told by its
    look.
    """
    try:
        scheme = urlsplit(uri).scheme
    except ValueError as error:  # a password with a bracket
        what = f"MLFLOW_TRACKING_URI is no address ({printable(redacted(str(error)))})"
        return Trouble(
            what,
            "write each of /?#[]@: in a user or password as % and its code (`[` is %5B), or "
            f"{_OWN_STORE}",
        )
    allowed = os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() in ("true", "1")
    known = (
        uri == "databricks"
        or re.match(r"(databricks-uc|uc|arn)\b", uri)
        or ("://" in uri and scheme != "file")
    )
    if allowed or known:
        return None
    ways = f"{_OWN_STORE}, or set it to sqlite:////FOLDER/mlflow.db or to http://HOST:PORT"
    if re.fullmatch(r"[\w.-]+:\d+(/.*)?", uri):
        return Trouble(
            "MLFLOW_TRACKING_URI is an address without http://",
            f"set it to http://{redacted(uri)}, if that is meant; else {ways}",
        )
    return Trouble(
        "MLFLOW_TRACKING_URI names a folder of files, which MLflow keeps no runs in any more", ways
    )


def explain(error: Exception, uri: str) -> Trouble:
    """What an error that MLflow raised means for the user."""
    if isinstance(error, Unusable):
        return error.trouble
    if isinstance(error, Withheld):
        return _withheld(error.place, error.__cause__ or error)
    raw = redacted(str(error)) or "no message"
    first = printable(raw.splitlines()[0], 300).rstrip(". ")
    said = f"{type(error).__name__}: {first}"
    code = _status(error, raw)
    if code in (401, 403):
        way = (
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
            "MLFLOW_TRACKING_TOKEN, to what the server knows"
        )
        return Trouble(f"the server refuses these credentials (HTTP {code})", way)
    found = re.search(r"found version (\w+), but expected (\w+)", raw)
    if found:
        what = (
            f"the store's tables are of another MLflow (version {found[1]}, this one has "
            f"{found[2]})"
        )
        upgrade = 'back it up, then run: python -m mlflow db upgrade "$MLFLOW_TRACKING_URI"'
        return Trouble(what, f"if it is older, {upgrade}; if it is newer, install its MLflow here")
    if isinstance(error, ImportError) or "Can't load plugin" in raw:
        return Trouble(said, f"install what reads such a store, or {_OWN_STORE}")
    if "unsupported URI" in raw or "Unity Catalog tracking URI" in raw:
        return Trouble(
            f"MLFLOW_TRACKING_URI is of no kind that MLflow knows ({printable(redacted(uri))})",
            _OWN_STORE,
        )
    if "credential" in raw or "authentication" in raw.lower():
        return Trouble(said, f"set up the credentials, or {_OWN_STORE}")
    if code == 404 or "not in a valid JSON" in raw:
        return Trouble(
            said,
            f"see that MLFLOW_TRACKING_URI is the address of an MLflow server, or {_OWN_STORE}",
        )
    return Trouble(said)


def _withheld(place: str, error: BaseException) -> Trouble:
    """Of files alone: a run's numbers go elsewhere."""
    by_server = place.startswith(("mlflow-artifacts:", "http"))
    bucket = redacted(place if place.startswith("file:") else "/".join(place.split("/")[:3]))
    code, why = _answer(error)
    what = (
        "the numbers are there, but files (the report, logs of failures) do not get to "
        f"{_PROXIED if by_server else printable(bucket)}: {code}: {why}"
    )
    if by_server:  # which has just taken the numbers
        way = (
            "the server's log says why (a bucket that is missing, credentials that the server has "
            "not): whoever runs it has to mend that"
        )
        return Trouble(what, way)
    if isinstance(error, ImportError):
        return Trouble(what, f"install what writes there: pip install {error.name or 'boto3'}")
    if code in _NO_BUCKET:
        way = (
            "make that bucket, or set MLFLOW_S3_ENDPOINT_URL to the address of a store that has it"
        )
        return Trouble(what, way)
    if code in _NO_KEYS:
        keys = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE)"
        return Trouble(what, f"set {keys} to keys that may write there")
    return Trouble(what)


def _answer(error: BaseException) -> tuple[str, str]:
    """(code or kind, in words) of what kept files away: S3's own answer, where it gave one, which
    libraries wrap.
    """
    first: BaseException | None = error
    while first is not None:
        answer = getattr(first, "response", None)
        if isinstance(answer, dict) and "Error" in answer:  # of botocore
            found = answer["Error"]
            return str(found.get("Code")), printable(redacted(str(found.get("Message"))), 200)
        first = first.__cause__ or first.__context__
    raw = (redacted(str(error)) or "no message").splitlines()[0]
    if http := re.search(r"too many (\d{3}) error|^(\d{3}) (?:Client|Server) Error", raw):
        return f"HTTP {http[1] or http[2]}", "the server could not write or read there"
    cause = re.search(r"\(Caused by (\w+)\((.*)", raw)  # behind the address, which is long
    kind, said = cause.groups() if cause else (type(error).__name__, raw)
    return kind, printable(said, 200).rstrip(". ")


def _status(error: Exception, raw: str) -> int:
    """The HTTP status of an answer; 0 where the error is none. MLflow's errors of its own stores
    carry one too.
    """
    found = re.search(r"failed with error code (\d{3})", raw)
    if found:
        return int(found[1])
    return {"UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403}.get(
        getattr(error, "error_code", ""), 0
    )


def is_missing(error: Exception) -> bool:
    """Whether MLflow does not have what it was asked for."""
    return getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST"


@contextlib.contextmanager
def missing_is_no_matter() -> Iterator[None]:
    """What MLflow does not have (a former arm's run, of a store that was lost) is left alone."""
    try:
        yield
    except Exception as error:
        if not is_missing(error):
            raise
