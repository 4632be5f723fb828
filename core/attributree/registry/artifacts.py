"""The artifact store: weights as safetensors files, named by the SHA-256 of their bytes."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import ArtifactError
from ..nn.tree import Weights


class ArtifactStore:
    """A folder of parts. A part is never changed: another content has another name.

    Nothing but safetensors is ever read, and only after digest, names, shapes and types were compared with
    what is expected.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, digest: str) -> Path:
        """Return where the part of that digest lies, if it is there."""
        return self.folder / digest[:2] / f"{digest}.safetensors"

    def put(self, weights: Weights) -> str:
        """Store one part and return its digest. Written to a temporary name, synced, then renamed."""
        data = save(weights)
        digest = hashlib.sha256(data).hexdigest()
        path = self.path(digest)
        partial = path.parent / f".partial-{os.getpid()}-{secrets.token_hex(8)}"
        try:
            if _digest_of(path) == digest:  # a damaged part of that name is written again
                return digest
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("xb") as file:  # not tempfile: its files cannot be read by others of a team
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
            _sync_folder(path.parent)
        except OSError as error:
            raise ArtifactError(f"{path} could not be written ({error.strerror}); nothing was promoted") from error
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
        return digest

    def get(self, digest: str, expected: Mapping[str, Tensor]) -> Weights:
        """Return the part of that digest, whose names, shapes and types must be those of `expected`.

        Raises ArtifactError if it is missing, damaged or something else.
        """
        path, weights = self.path(digest), self.read(digest)
        if weights.keys() != expected.keys():
            odd = sorted(weights.keys() ^ expected.keys())[:3]
            raise ArtifactError(f"{path} does not hold what its branch needs; differing: {', '.join(odd)}")
        for name, tensor in weights.items():
            want = expected[name]
            if tensor.shape != want.shape or tensor.dtype != want.dtype:
                raise ArtifactError(
                    f"{path}: {name} is {tuple(tensor.shape)} {tensor.dtype}, expected {tuple(want.shape)} {want.dtype}"
                )
        return weights

    def read(self, digest: str) -> Weights:
        """Return the part of that digest as it is. Raises ArtifactError if it is missing or damaged."""
        path = self.check(digest)
        try:
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ArtifactError(f"{path} is not a safetensors file: {error}") from error

    def check(self, digest: str) -> Path:
        """Return where the part of that digest lies. Raises ArtifactError if it is missing or damaged."""
        path = self.path(digest)
        try:
            found = _digest_of(path)
        except OSError as error:
            raise ArtifactError(f"{path} cannot be read ({error.strerror}); restore it, or roll back") from error
        if found is None:
            raise ArtifactError(f"{path} is missing; restore it, or roll back")
        if found != digest:
            raise ArtifactError(f"{path} is damaged: its content is not what its name says; restore it, or roll back")
        return path

    def digests(self) -> Iterator[str]:
        """Yield the digest of every stored part, in no order."""
        return (path.stem for path in self.folder.glob("??/*.safetensors"))

    def size(self, digest: str) -> int:
        """Return the bytes of a stored part."""
        return self.path(digest).stat().st_size

    def sweep(self) -> int:
        """Delete what killed writers left behind and return how many files that were."""
        leftovers = self.leftovers()
        for leftover in leftovers:
            leftover.unlink(missing_ok=True)
        return len(leftovers)

    def leftovers(self) -> list[Path]:
        """Return the files that killed writers left behind."""
        return list(self.folder.glob("*/.partial-*"))


def _digest_of(path: Path) -> str | None:
    """Return the SHA-256 of a file's content, None if there is no such file."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; where folders cannot be opened, as on Windows, it is as durable as it gets."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
