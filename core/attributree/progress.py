"""How long work tells how far it is."""

from collections.abc import Callable

#: Called with (what, done, of how many).
Progress = Callable[[str, int, int], None]
