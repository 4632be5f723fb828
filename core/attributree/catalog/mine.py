"""Mining the catalogue's titles and descriptions: what they say becomes observations of the source `text`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, select

from ..errors import UnknownNameError
from ..schema import SEPARATOR
from .declare import declared
from .engine import chunks
from .observe import Log
from .queries import revision
from .tables import Image, Product
from .text import Miner

#: Who says what was mined.
SOURCE = "text"
#: What a source says that has nothing to say any more; no value is spelt so, and annotations go by the others.
WITHDRAWN = ""
#: Products that are read together, and examples that a summary shows.
_CHUNK, _EXAMPLES = 1000, 3


@dataclass(frozen=True, slots=True)
class Example:
    """A product whose text said something new: `raw` is what was, or would be, stored."""

    sku: str
    title: str
    description: str
    raw: str


@dataclass
class Mined:
    """What was found for one attribute: products by value, several for one in `ambiguous` if it can have only one."""

    products: int = 0
    ambiguous: int = 0
    values: Counter[str] = field(default_factory=Counter)
    examples: list[Example] = field(default_factory=list)


@dataclass(frozen=True)
class MineSummary:
    """What mining brought. `withdrawn` counts images whose text does not say any more what it said.

    `observations_new`, `observations_same` and `withdrawn` count images, attribute by attribute.
    """

    products: int
    attributes: Mapping[str, Mined]
    observations_new: int
    observations_same: int
    withdrawn: int
    revision: int
    dry_run: bool

    @property
    def changed(self) -> bool:
        """Whether anything was stored, or would be."""
        return bool(self.observations_new or self.withdrawn)

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON-ready data."""
        return asdict(self) | {
            "attributes": {
                name: asdict(mined) | {"values": dict(mined.values)} for name, mined in self.attributes.items()
            }
        }


def mine(
    connection: Connection,
    names: Collection[str] | None = None,
    *,
    dry_run: bool = False,
    progress: Callable[[int], None] | None = None,
) -> MineSummary:
    """Store what every product's title and description say of `names`, by default of all declared attributes.

    A text that says the same as before stores nothing; one that says nothing any more withdraws what it said.
    `progress` is told the number of products done. Raises UnknownNameError.
    """
    known = {name: attribute for name, (_, attribute) in declared(connection).items()}
    for name in names or ():
        if name not in known:
            raise UnknownNameError(
                f"no declared attribute {name!r}; there are: {', '.join(sorted(known)) or 'none'}. "
                "`attributree sync-catalog --no-train` registers what plugins declare"
            )
    wanted = sorted(names or known)
    single = {name for name in wanted if known[name].labels.kind != "multi"}
    miner = Miner(known.values())
    log = Log(connection, SOURCE, None, "mine", ", ".join(wanted))
    mined = {name: Mined() for name in wanted}
    products = new = same = withdrawn = 0
    for part in _products(connection):
        raws = {}
        for product in part:
            found = miner.mine(product.article_type, product.title, product.description)
            for name in mined.keys() & found.keys():
                raws[product.id, name] = SEPARATOR.join(found[name])
                mined[name].products += 1
                mined[name].ambiguous += name in single and len(found[name]) > 1
                mined[name].values.update(found[name])
        images = _images(connection, part[0].id, part[-1].id)
        standing: dict[tuple[int, str], str] = {}
        for ids in chunks(list(images)):
            standing |= log.standing(ids, wanted)
        fresh = {}
        about = {product.id: product for product in part}
        for image, owner in images.items():
            for name in wanted:
                raw, before = raws.get((owner, name), WITHDRAWN), standing.get((image, name), WITHDRAWN)
                if raw == before:
                    same += raw != WITHDRAWN
                    continue
                fresh[image, name] = raw
                withdrawn += raw == WITHDRAWN
                new += raw != WITHDRAWN
                _show(mined[name].examples, about[owner], raw)
        if not dry_run:
            log.append(fresh)
        products += len(part)
        if progress:
            progress(products)
    if log.new:
        log.derive()
    return MineSummary(products, mined, new, same, withdrawn, revision(connection), dry_run)


def _show(examples: list[Example], product: Row[Any], raw: str) -> None:
    if raw != WITHDRAWN and len(examples) < _EXAMPLES and product.sku not in {example.sku for example in examples}:
        examples.append(Example(product.sku, product.title, product.description, raw))


def _products(connection: Connection) -> Iterator[Sequence[Row[Any]]]:
    """Yield all products in chunks, by id."""
    query = select(Product.id, Product.sku, Product.article_type, Product.title, Product.description)
    last = 0
    while part := connection.execute(query.where(Product.id > last).order_by(Product.id).limit(_CHUNK)).all():
        yield part
        last = part[-1].id


def _images(connection: Connection, first: int, last: int) -> dict[int, int]:
    """Return the product of each image of the products from `first` to `last`; a chunk has every id between."""
    query = select(Image.id, Image.product_id).where(Image.product_id.between(first, last)).order_by(Image.id)
    return {row.id: row.product_id for row in connection.execute(query)}
