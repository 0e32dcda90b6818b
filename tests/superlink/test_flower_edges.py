"""Where Flower is imported: its public API at both apps, its inner modules in rooms that stand for it."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PUBLIC = ("flwr.app", "flwr.clientapp", "flwr.serverapp", "flwr.simulation")
INNER_ROOMS = ("client/connection/", "server/superlink/", "server/gateway/")


def inner_imports(path: Path) -> set[str]:
    """Flower's modules that a file imports, beyond Flower's public API."""
    modules = set[str]()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            modules.add(node.module or "")
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
    return {module for module in modules if module.split(".")[0] == "flwr" and module not in PUBLIC}


def test_flowers_inner_modules_are_imported_in_three_rooms_alone() -> None:
    files = [path for room in ("client", "server", "common") for path in sorted((ROOT / room).rglob("*.py"))]
    outside = {
        str(path.relative_to(ROOT)): modules
        for path in files
        if (modules := inner_imports(path)) and not str(path.relative_to(ROOT)).startswith(INNER_ROOMS)
    }
    assert outside == {}
