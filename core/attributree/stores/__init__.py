"""Memory-mapped caches: decoded pixels and trunk activations. Both can be deleted at any time."""

from .activations import ActivationStore
from .pixels import Decoded, Photo, PixelStore
from .records import RecordStore

__all__ = ["ActivationStore", "Decoded", "Photo", "PixelStore", "RecordStore"]
