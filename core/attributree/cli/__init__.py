"""The command line: the group `cli`, and the modules whose import registers its commands."""

from . import catalog, compare, export, plugins, predict, pretrain, product, registry, sync, text, types, watch, weights  # noqa: F401
from .group import cli, main

__all__ = ["cli", "main"]
