"""Memory-mapped caches: decoded pixels and trunk activations. Both can be deleted at any time."""

from .activations import ActivationStore, top_key
from .bound import Bound, Room
from .pixels import Decoded, Photo, PixelStore
from .records import RecordStore

__all__ = ["ActivationStore", "Bound", "Decoded", "Photo", "PixelStore", "RecordStore", "Room", "top_key"]
