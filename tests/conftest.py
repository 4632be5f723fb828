"""What the tests share stands in tests/support, where they import its classes from; the fixtures are found here."""

import gc
import os
import shutil
from pathlib import Path

# Before torch is imported: tests run beside each other, and networks this small are slower on many threads than on one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Temporary files in memory where there is room for them: each commit and each artifact waits for the disk otherwise.
_MEMORY = Path("/dev/shm")
if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > 4 << 30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))

pytest_plugins = [
    "support.soak",
    "support.databases",
    "support.postgresql",
    "support.processes",
    "support.catalogues",
    "support.projects",
    "support.web",
]

# Garbage is looked for in what tests leave, and not over and over in all that imports and the collection have made.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    gc.unfreeze()
