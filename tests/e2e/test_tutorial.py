"""docs/plugins.md is executed word by word: files are written, edits made, commands typed, outputs compared.

Fenced blocks of the tutorial, in order:

    console              `$ command` is run, and what stands below must be all it prints; `...` stands for anything
    LANGUAGE title=FILE  the file is written
    diff title=FILE      lines with - are replaced by those with +
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.environments import Environment

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"
FENCE = re.compile(r'^```(?P<language>\w+)(?: title="(?P<file>[^"]+)")?\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block of the page."""

    language: str
    file: str | None
    text: str

    def commands(self) -> Iterator[tuple[str, str]]:
        """Yield each command with what it is to print."""
        for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command, output


def tutorial() -> list[Block]:
    """Return the blocks of the page's tutorial, down to the sections to look things up in."""
    text = PAGE.read_text(encoding="utf-8").partition("\n## The label schema\n")[0]
    return [Block(found["language"], found["file"], found["text"]) for found in FENCE.finditer(text)]


def edited(source: str, diff: str) -> str:
    """Return `source` with each run of - lines replaced by the + lines below it; each must be there once."""
    for removed, added in re.findall(r"((?:^-.*\n)+)((?:^\+.*\n)+)", diff, flags=re.MULTILINE):
        old, new = (re.sub(r"^.", "", lines, flags=re.MULTILINE) for lines in (removed, added))
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    return source


def agrees(printed: str, promised: str) -> bool:
    """Return whether output is what the page shows, but for blanks at the ends of lines.

    `...` stands for anything within a line; alone on one for any number of lines.
    """
    pattern = ""
    for line in promised.splitlines():
        parts = map(re.escape, line.split("..."))
        pattern += r"(?s:.*\n)?" if line == "..." else ".*".join(parts) + r"[ ]*\n"
    return re.fullmatch(pattern, printed) is not None


@pytest.mark.acceptance
def test_the_tutorial_does_what_it_says(environment: Environment, tmp_path: Path) -> None:
    blocks = tutorial()
    typed = 0
    for block in blocks:
        if block.language == "console":
            for command, promised in block.commands():
                printed = environment.shell(command, tmp_path)
                assert agrees(printed, promised), f"$ {command}\n{printed}\n-- is not what the page shows:\n{promised}"
                typed += 1
        elif block.language == "diff":
            file = tmp_path / str(block.file)
            file.write_text(edited(file.read_text(encoding="utf-8"), block.text), encoding="utf-8")
        elif block.file:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
    assert typed >= 8
    assert (tmp_path / "attributree-hem" / "src").is_dir()


def test_an_author_writes_a_handful_of_lines() -> None:
    written = [line for block in tutorial() if block.language == "diff" for line in block.text.splitlines()]
    assert 4 <= sum(line.startswith("+") for line in written) <= 8


def test_output_that_differs_is_noticed() -> None:
    assert agrees("wrote a\nfound 17 images\n", "wrote a\nfound ... images\n")
    assert not agrees("wrote a\nand more\n", "wrote a\n")
    assert not agrees("wrote b\n", "wrote a\n")
    assert agrees("wrote a  \n", "wrote a\n...\n")
    assert agrees("wrote a\nb\nc\n", "wrote a\n...\n")
    assert not agrees("wrote a\nb\n", "wrote ...\n")


def test_an_edit_of_what_is_not_there_is_noticed() -> None:
    assert edited("a\nb\nc\n", "-b\n+d\n+e\n") == "a\nd\ne\nc\n"
    with pytest.raises(AssertionError):
        edited("a\n", "-b\n+c\n")
