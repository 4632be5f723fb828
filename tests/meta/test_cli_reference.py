"""docs/cli.md is what the commands say of themselves; `make cli-reference` writes it anew."""

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click

import attributree.cli
from attributree.cli import cli

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
HEAD = """\
# Commands

What each command says with `--help`. Every setting can also come from the environment:
`ATTRIBUTREE_TRAINING__EPOCHS=5` is `epochs = 5` under `[training]`. An option wins over the environment, that over the
file, that over the default.

| exit code | means |
|---|---|
| 0 | done |
| 1 | an error that is reported in one line |
| 2 | wrong usage |
| 3 | done, but something was quarantined, blocked or gated, and `--strict` was given |

With `--json` a command writes one JSON document to stdout; `predict` always writes one JSON line an image and
attribute. Progress and messages go to stderr.
"""


def commands(command: click.Command, path: str, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """Yield (name, help) of a command and all below it, in order of name."""
    settings = {"terminal_width": 100, **command.context_settings}
    context = click.Context(command, info_name=path.rpartition(" ")[2], parent=parent, **settings)
    yield path, command.get_help(context)
    if isinstance(command, click.Group):
        for name, child in sorted(command.commands.items()):  # its own: those of plugins stand in their READMEs
            yield from commands(child, f"{path} {name}", context)


def render() -> str:
    """Return the page."""
    parts = [f"## {path}\n\n```text\n{text}\n```\n" for path, text in commands(cli, "attributree")]
    return "\n".join([HEAD, *parts])


def test_the_reference_is_what_the_commands_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "docs/cli.md is not what --help says: run `make cli-reference`"


def test_every_module_of_commands_is_imported_with_the_package() -> None:
    known = set(cli.commands)
    for module in pkgutil.iter_modules(attributree.cli.__path__):
        import_module(f"attributree.cli.{module.name}")
        added = sorted(set(cli.commands) - known)
        assert not added, f"cli/{module.name}.py: import it in cli/__init__.py, or nothing knows of {', '.join(added)}"


def test_every_command_is_tested() -> None:
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (PAGE.parents[1] / "tests").rglob("test_*.py"))
    untested = [path for path, _ in commands(cli, "attributree") if f'"{path.rpartition(" ")[2]}"' not in tests]
    assert untested == [], "run them in a test, as project.run(...) in tests/cli does"


def test_every_command_and_option_says_what_it_does() -> None:
    for path, text in commands(cli, "attributree"):
        assert text.count("\n") > 3, path
    stack: list[click.Command] = [cli]
    while stack:
        command = stack.pop()
        assert command.help, command.name
        assert all(option.help for option in command.params if isinstance(option, click.Option)), command.name
        stack += list(command.commands.values()) if isinstance(command, click.Group) else []


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
