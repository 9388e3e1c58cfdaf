"""What MLflow's server is reached through when it shows results: everything of it but its
assistant.

The assistant runs shell commands as the user who started the server, for whoever reaches the port
from this machine, other users too, and MLflow has no switch for it.
"""

from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

CLOSED = "/mlflow/assistant"


class Viewer(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """uvicorn's own protocol (`--http`); what is closed is answered with 403 before MLflow hears of
    it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._whole: Any = vars(self)["app"]
        self.app = self._guarded

    async def _guarded(self, scope: Any, receive: Any, send: Any) -> None:
        if CLOSED not in scope.get("path", ""):
            await self._whole(scope, receive, send)
            return
        await send(
            {"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"0")]}
        )
        await send({"type": "http.response.body", "body": b""})
