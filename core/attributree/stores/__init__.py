"""Memory-mapped caches: decoded pixels and trunk activations. Both can be deleted at any time."""

from .activations import ActivationStore, fill_features, top_key
from .bound import Bound, Room
from .pixels import Decoded, Photo, PixelStore
from .records import RecordStore, erase_everywhere

__all__ = [
    "ActivationStore",
    "Bound",
    "Decoded",
    "Photo",
    "PixelStore",
    "RecordStore",
    "Room",
    "erase_everywhere",
    "fill_features",
    "top_key",
]
