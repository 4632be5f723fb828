"""Keep a catalogue of this code's schema version for the upgrade tests. Run it before HEAD moves on.

It upgrades the newest former catalogue with the code as it is now, so that all that was ever in one is in the next.
"""

import gzip
import tempfile
from pathlib import Path

from sqlalchemy import create_engine

from attributree.database import migrate

DATA = Path(__file__).parent / "data"


def keep() -> Path:
    """Write data/HEAD.db.gz and return its path."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "former.db"
        path.write_bytes(gzip.decompress(max(DATA.glob("*.db.gz")).read_bytes()))
        migrate.upgrade(f"sqlite:///{path}")
        engine = create_engine(f"sqlite:///{path}", isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.exec_driver_sql("VACUUM")
        engine.dispose()
        kept = DATA / f"{migrate.HEAD}.db.gz"
        kept.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    return kept


if __name__ == "__main__":
    print(keep())  # noqa: T201
