"""What imports what: no module imports itself by a detour, and commands that need no network start without torch."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp

import attributree

PACKAGE = Path(attributree.__file__).parent
#: The packages and modules that may import torch when they are imported themselves.
HEAVY = {
    *("nn", "training", "inference", "registry/artifacts.py", "registry/trees.py", "images/features.py"),
    *(
        "sync/data.py",
        "sync/new_trunk.py",
        "heads.py",
        "comparison/arms.py",
        "comparison/measure.py",
        "comparison/run.py",
    ),
}
HEAVY_IMPORTS = {"torch", "torchvision", "timm", "sklearn", "safetensors"}


def imported_by() -> dict[str, set[str]]:
    """Return what each module imports of the package, at its top, inside functions and for types only."""
    graph = grimp.build_graph("attributree", cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return modules of which each imports the next and the last is the first again; none if there is no circle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def test_no_module_imports_itself_by_a_detour() -> None:
    assert circle(imported_by()) == [], (
        "each imports the next: move what they share into a module that imports none of them"
    )


def test_a_circle_is_seen_even_if_one_import_is_for_types_only() -> None:
    graph = imported_by()
    assert "attributree.reports" in graph["attributree.plugins.hookspecs"]  # under TYPE_CHECKING
    graph["attributree.reports"].add("attributree.plugins.hookspecs")
    assert set(circle(graph)) == {"attributree.reports", "attributree.plugins.hookspecs"}


def imports(path: Path) -> set[str]:
    """Return the top packages that a module imports when it is imported, not inside functions or for types only."""
    found: set[str] = set()
    todo = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.If) and ast.unparse(node.test) != "TYPE_CHECKING":
            todo += [*node.body, *node.orelse]
        elif isinstance(node, (ast.Try, ast.With, ast.ClassDef)):
            todo += node.body
    return found


def test_only_the_network_imports_torch() -> None:
    light = [
        path
        for path in PACKAGE.rglob("*.py")
        if not {path.relative_to(PACKAGE).parts[0], path.relative_to(PACKAGE).as_posix()} & HEAVY
    ]
    assert len(light) > 30
    assert [path.name for path in light if imports(path) & HEAVY_IMPORTS] == []
    assert any(imports(path) & HEAVY_IMPORTS for path in (PACKAGE / "nn").glob("*.py"))  # it can be seen


def test_importing_the_command_line_leaves_torch_and_the_database_alone() -> None:
    code = "import sys, attributree.cli; print(sorted({'torch', 'timm', 'sklearn', 'sqlalchemy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
