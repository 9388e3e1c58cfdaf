"""The rules of the house, read from the code itself."""

import ast
import importlib
import re
from pathlib import Path

import pytest

import pipeline

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pipeline"
MAX_LINES, MAX_FUNCTION = 350, 60

# Rooms from the ground up: a module imports from its own room and from rooms below, also inside
# functions, never in a circle. Commands (modules at the root with a `main`, and every `__main__`)
# stand above all and import no command. The package itself is the door above them all: it names
# what is in the rooms; of these only the shipped studies and spaces, as a user's do, import it.
ROOMS = (
    "",
    "own",
    "data",
    "core",
    "study",
    "search_spaces",
    "studies",
    "record",
    "engine",
    "analysis",
    "report",
    "session",
    "doctor export",
    "testing commands",
    "door",
)
DOORS = {
    "ray": (
        "engine.ray_cluster",
        "engine.ray_copies",
        "engine.ray_ferry",
        "engine.ray_join",
        "engine.ray_node",
        "engine.ray_nodes",
        "engine.ray_segment",
        "engine.ray_tune",
    ),
    "optuna": ("engine.sampler", "engine.optuna_window", "analysis.optuna_importance"),
    "mlflow": ("export.registry", "record.mlflow_batch", "record.mlflow_store"),
    "cmaes": ("engine.evolution",),
    "apprise": ("session.news",),
    "tensorboard": ("record.tensorboard_window",),
}
LIGHT = (
    "core.config",
    "study",
    "study.designs",
    "search_spaces",
    "studies",
    "session.cli",
    "session.session",
    "session.dry_run",
    "screen",
    "doctor.__main__",
    "export.__main__",
    "caches",
    "compare",
    "status",
    "core.models",
    "core.optimizers",
    "core.schedules",
    "core.losses",
    "core.regularize",
    "core.transfer",
    "core.augmentation.config",
    "core.finished.final",
    "data.datasets",
)
HEAVY = {
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "sklearn",
    "pandas",
    "pyarrow",
    "PIL",
    "matplotlib",
    "ray",
    "optuna",
    "cmaes",
    "mlflow",
    "timm",
    "pyDOE3",
    "onnx",
    "onnxruntime",
    "tensorboard",
}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in PATHS.items()}
EVERY_MODULE = pytest.mark.parametrize("name", PATHS, ids=lambda name: name or "pipeline")


def imported(tree: ast.AST) -> set[str]:
    """Dotted names that the code imports; of `from a import b` both `a` and `a.b`."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ours(names: set[str]) -> set[str]:
    """The modules of the package among imported names; of a module and its package only the
    module.
    """
    found = {
        name.removeprefix("pipeline.") for name in names if name.startswith("pipeline.")
    } & PATHS.keys()
    return {name for name in found if not any(other.startswith(f"{name}.") for other in found)}


def at_import(tree: ast.Module) -> ast.Module:
    """What runs when the module is imported: no bodies of functions, nothing for type checkers
    alone.
    """

    class Strip(ast.NodeTransformer):
        def visit_FunctionDef(self, _: ast.FunctionDef) -> None:
            return None

        visit_AsyncFunctionDef = visit_FunctionDef

        def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
            if "TYPE_CHECKING" in ast.unparse(node.test):
                return node.orelse
            return self.generic_visit(node)

    return Strip().visit(ast.parse(ast.unparse(tree)))


GRAPH = {name: ours(imported(tree)) - {name} for name, tree in TREES.items()}


def room_of(name: str) -> str:
    """The room that a module is in; "" is the ground: modules at the root that are no command."""
    if not name:
        return "door"
    first, _, rest = name.partition(".")
    if name.endswith("__main__") or (
        not rest
        and any(isinstance(n, ast.FunctionDef) and n.name == "main" for n in TREES[name].body)
    ):
        return "commands"
    return first if rest or PATHS[name].name == "__init__.py" else ""


@EVERY_MODULE
def test_a_module_imports_only_from_its_room_and_from_below(name):
    rank = {room: number for number, row in enumerate(ROOMS) for room in row.split() or [""]}
    own = room_of(name)
    through = {f"pipeline.{thing}" for thing in pipeline.__all__ if thing not in PATHS}
    assert own in ("door", "studies", "search_spaces") or not through & imported(TREES[name])
    for other in GRAPH[name]:
        theirs = room_of(other)
        below = rank[theirs] < rank[own] or (theirs == own != "commands")
        assert below, f"pipeline.{name} must not import pipeline.{other}"


@pytest.mark.parametrize(
    "room", [room for room in " ".join(ROOMS[:-2]).split() if room != "report"]
)
def test_whoever_takes_one_thing_of_a_room_does_not_load_the_rest(room):
    assert not GRAPH[room]


def test_no_import_goes_in_a_circle():
    left = {name: set(others) for name, others in GRAPH.items()}
    while left:
        free = {name for name, others in left.items() if not others & left.keys()}
        assert free, f"imports in a circle among {sorted(left)}"
        for name in free:
            del left[name]


@EVERY_MODULE
def test_ray_optuna_and_mlflow_come_in_by_their_doors_alone(name):
    packages = {found.split(".")[0] for found in imported(TREES[name])}
    assert {package for package in DOORS if package in packages} <= {
        package for package, doors in DOORS.items() if name in doors
    }


def test_the_doors_are_in_use():
    for package, doors in DOORS.items():
        assert all(
            package in {found.split(".")[0] for found in imported(TREES[door])} for door in doors
        )


@pytest.mark.parametrize(
    "name", [name for name in PATHS if name in LIGHT or name.rpartition(".")[0] in LIGHT]
)
def test_a_bad_command_line_is_answered_without_loading_torch(name):
    reached, todo = set(), [name]
    while todo:
        module = todo.pop()
        if module not in reached:
            reached.add(module)
            names = imported(at_import(TREES[module]))
            heavy = HEAVY & {found.split(".")[0] for found in names}
            assert not heavy, f"importing pipeline.{name} loads {heavy} in pipeline.{module}"
            todo += ours(names)


@EVERY_MODULE
def test_a_module_can_be_imported(name):
    importlib.import_module(f"pipeline.{name}".rstrip("."))


@EVERY_MODULE
def test_a_module_is_short_and_says_what_it_is(name):
    assert ast.get_docstring(TREES[name])
    assert len(PATHS[name].read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@EVERY_MODULE
def test_a_function_fits_a_screen(name):
    long = [
        node.name
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.FunctionDef)
        and (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION
    ]
    assert not long


@pytest.mark.parametrize("folder", ["studies", "search_spaces"])
def test_studies_and_spaces_are_data_alone(folder):
    for path in set((PACKAGE / folder).glob("*.py")) - {PACKAGE / folder / "__main__.py"}:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree)
        assert not any(
            isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.For, ast.While, ast.Lambda))
            for node in ast.walk(tree)
        )
        froms = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert all(re.fullmatch(r"pipeline(\.search_spaces\.\w+)?", room) for room in froms)
        assert not any(isinstance(node, ast.Import) for node in ast.walk(tree))
