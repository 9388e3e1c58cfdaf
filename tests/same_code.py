"""Vouch that this checkout trains what another one trained, though its code has another form: `…
same_code OLD_CHECKOUT`.

Run it by hand, after definitions that training reaches were moved or renamed and nothing else was
done to them; what was recorded by the other checkout is then gone on with. Pairs are added to
`pipeline/record/same_code.json`, none is taken out.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "pipeline" / "record" / "same_code.json"
READ = """
import json, typing
try:
    from pipeline.core.config import TrainConfig
    from pipeline.record import sources
except ImportError:  # before modules were in rooms
    from pipeline.config import TrainConfig
    from pipeline import sources
from pipeline.frozen import Frozen, digest

def classes(kind, found):
    for part in typing.get_args(kind):
        classes(part, found)
    if isinstance(kind, type) and issubclass(kind, Frozen) and kind not in found:
        found.append(kind)
        for name, field in kind.model_fields.items():
            if name != "dataset":
                classes(field.annotation, found)
    return found

kinds = classes(TrainConfig, [])[1:]
roots = {kind.__qualname__: ((kind.__module__, kind.__qualname__),) for kind in kinds}
assert len(roots) == len(kinds)
roots[""] = sources.ROOTS
print(json.dumps({name: digest(dict(sources._files(root))) for name, root in roots.items()}))
"""


def digests(checkout: Path) -> dict[str, str]:
    """Part (a config's class; "" for the training core) → digest of what training reaches of it."""
    words = (sys.executable, "-c", READ)
    done = subprocess.run(
        words,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        cwd=checkout,
        stdout=subprocess.PIPE,
        check=True,
    )
    return dict(json.loads(done.stdout))


def main() -> None:
    old, new = digests(Path(sys.argv[1]).resolve()), digests(ROOT)
    pairs = {
        old[name]: new[name] for name in sorted(old.keys() & new.keys()) if old[name] != new[name]
    }
    known = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {}
    assert not pairs.keys() & set(known.values()) & set(pairs.values())
    TABLE.write_text(json.dumps(known | pairs, indent=0) + "\n", encoding="utf-8")
    print(
        f"{len(pairs)} of {len(new)} parts have another form; gone: "
        f"{sorted(old.keys() - new.keys())}"
    )


if __name__ == "__main__":
    main()
