"""What the tests share stands in tests/support, where they import its classes from; the fixtures are found here."""

import os

# Before torch is imported: tests run beside each other, and networks this small are slower on many threads than on one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = [
    "support.soak",
    "support.databases",
    "support.postgresql",
    "support.catalogues",
    "support.projects",
]
