"""What shops call clothes, shoes, bags and accessories, and the types that all of it is.

`top`, `dress` and `jeans` are the types that the first-party attributes apply to: what stands below `top` covers the
upper body, and has a neckline and sleeves to ask for. A type that no attribute names is there to be known: nothing is
asked of it by a rule then, and not because its word was unknown.
"""

from __future__ import annotations

from collections.abc import Iterator

from attributree import ArticleType, hookimpl

from .accessories import ACCESSORIES, BAGS, BEAUTY, JEWELLERY
from .clothes import BOTTOMS, DRESSES, SETS, TOPS, UNDERWEAR
from .footwear import FOOTWEAR


def read_table(table: str) -> Iterator[ArticleType]:
    """Yield the types of a table: `name < types above: words; more words`, and indented lines that go on with words."""
    for line in table.replace("\n    ", " ").strip().splitlines():
        head, _, words = line.partition(":")
        name, _, above = head.partition("<")
        below = tuple(text.strip() for text in above.split(",") if text.strip())
        yield ArticleType(name.strip(), tuple(word.strip() for word in words.split(";")), below)


TYPES = tuple(
    one
    for table in (TOPS, DRESSES, BOTTOMS, SETS, UNDERWEAR, FOOTWEAR, BAGS, ACCESSORIES, JEWELLERY, BEAUTY)
    for one in read_table(table)
)


@hookimpl
def attributree_api() -> str:
    return ">=1.2,<2"


@hookimpl
def attributree_article_types() -> tuple[ArticleType, ...]:
    return TYPES
