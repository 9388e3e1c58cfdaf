"""The nodes of a cluster that get copies of a command's files, while it trains there; without such
nodes nothing is begun.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.counts import plural
from pipeline.engine import ray_nodes  # before ray
from pipeline.engine.nodes import Node
from pipeline.engine.order import Order
from pipeline.limits import size

# isort: split
import ray

if TYPE_CHECKING:
    from pipeline.engine.ray_ferry import Ferry


class Copies:
    """For runs of the study in `folder` on the pictures `data`. token: a file in the folder, of
    this moment: who sees it needs no copies.
    """

    def __init__(self, folder: Path, data: Path, token: Path) -> None:
        self.folder, self.data, self.token = folder, data, token
        self._ferry: Ferry | None = None
        self._loading: dict[Any, Node] = {}  # that have not all copies yet

    @property
    def awaited(self) -> bool:
        """Whether a node is about to have its copies."""
        return bool(self._loading)

    def send(self, *nodes: Node) -> str:
        """Let copies go to these nodes, of which there is one at least; says so."""
        if self._ferry is None:
            from pipeline.engine.ray_ferry import Ferry  # torch takes seconds to import

            self._ferry = Ferry(self.folder, self.data, self.token)
        self._loading |= {self._ferry.load(node.id): node for node in nodes}
        names = ", ".join(node.name for node in nodes)
        see = "does" if len(nodes) == 1 else "do"
        return (
            f"{plural(len(nodes), 'node')} of the cluster ({names}) {see} not see the folder "
            f"--mlruns: copies of {size(self._ferry.num_bytes)} go to each, checkpoints come back"
        )

    def arrived(self) -> list[tuple[Node, str]]:
        """The nodes of which it is known by now, once, with why they cannot have them, or ""."""
        found = []
        if self._loading:
            asked = list(self._loading)
            for answer in ray.wait(asked, num_returns=len(asked), timeout=0)[0]:
                try:
                    why = ray.get(answer)
                except ray.exceptions.RayError as error:
                    why = str(error).strip().rpartition("\n")[2] or type(error).__name__
                found.append((self._loading.pop(answer), why))
        return found

    def told(self, order: Order) -> dict[str, str]:
        """What a worker is told beside its order."""
        return {"cargo": self._ferry.cargo(order.config)} if self._ferry else {}

    def salvage(self, segment: str) -> None:
        """Bring here what a worker that is gone has left on such a node."""
        if self._ferry:
            self._ferry.salvage(segment, {node.id for node in ray_nodes.alive()})

    def clear(self) -> None:
        """Let the nodes remove what they keep of this command, but for pictures."""
        if self._ferry:
            self._ferry.clear({node.id for node in ray_nodes.alive()})
