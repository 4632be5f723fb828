"""Which URLs may be fetched, and which addresses may be connected to.

A label file comes from elsewhere, so its URLs must not lead into the user's own network: not directly, not by a name
that resolves to a private address, not by a redirect. Each connection is made to the very address that was looked at.
"""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit
from urllib.request import url2pathname

from ..errors import ImageError, UnreachableError
from ..settings.models import ImagesSettings

#: How the reason of a URL begins that the settings forbid.
NOT_ALLOWED = "not allowed: "

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.\-]*)://")
_WEB = {"http": 80, "https": 443}
_NAT64 = ip_network("64:ff9b::/96")

Address = IPv4Address | IPv6Address


def scheme_of(cell: str) -> str:
    """Return the scheme of a URL in lower case, "" for a path."""
    match = _SCHEME.match(cell) if "://" in cell else None  # of a path only the "in" is asked: it is asked often
    return match[1].lower() if match else ""


def is_remote(cell: str) -> bool:
    """Return whether an image's cell is a URL that leads elsewhere; a file:// URL is a path."""
    return scheme_of(cell) not in ("", "file")


def file_of(url: str) -> str:
    """Return the path that a file:// URL names. Raises ImageError if it names another host."""
    host, _, path = url.partition("://")[2].partition("/")
    if host.lower() not in ("", "localhost"):
        raise ImageError(f"a file:// URL of the host {host!r}; only file:///PATH of this one is read")
    return url2pathname(f"/{path}")


def normal_url(url: str) -> str:
    """Return the one spelling of a URL: scheme and host in lower case, no default port, no fragment."""
    scheme = scheme_of(url)
    if scheme not in _WEB:
        return scheme + url[len(scheme) :]
    try:
        parts = urlsplit(url)
        user, at, host = parts.netloc.rpartition("@")
        host = host.lower().removesuffix(f":{_WEB[scheme]}")
        return parts._replace(scheme=scheme, netloc=user + at + host, path=parts.path or "/", fragment="").geturl()
    except ValueError:  # `check_url` says why
        return url


def check_url(url: str, settings: ImagesSettings) -> SplitResult:
    """Return the parts of a URL that may be fetched, as far as can be said without a network. Raises ImageError."""
    scheme = scheme_of(url)
    if scheme not in settings.schemes:
        known = ", ".join(settings.schemes) or "none"
        if scheme in _WEB or scheme in ("s3", "gs"):
            raise ImageError(f'{NOT_ALLOWED}{scheme}:// is not among images -> schemes ({known}); add "{scheme}" there')
        raise ImageError(f"{NOT_ALLOWED}{scheme}:// is not fetched; give a path or a URL of {known}")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ImageError(f"not a URL that can be read: {error}") from None
    if not host or port == 0:
        raise ImageError("not a URL that can be read: it names no host")
    if "@" in parts.netloc:
        raise ImageError(f"{NOT_ALLOWED}the URL holds a user name or a password")
    if scheme in _WEB:
        with suppress(ValueError):  # a name: where it leads is looked at when it is connected to
            _check_address(host, ip_address(host), settings)
    elif not parts.path.strip("/"):
        raise ImageError(f"not a URL that can be read: it names no object, as {scheme}://BUCKET/KEY does")
    return parts


def connect(host: str, port: int, settings: ImagesSettings) -> socket.socket:
    """Return a socket connected to `host`, at an address that was looked at before.

    Raises ImageError if it leads to no address that may be asked, UnreachableError if none answers.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UnreachableError(f"{host} cannot be reached: {getattr(error, 'strerror', None) or error}") from None
    forbidden: ImageError | None = None
    problem: OSError | None = None
    for family, kind, protocol, _, where in found:
        try:
            _check_address(host, ip_address(str(where[0]).partition("%")[0]), settings)
        except ImageError as error:
            forbidden = forbidden or error
            continue
        opened = socket.socket(family, kind, protocol)
        try:
            opened.settimeout(settings.timeout)
            opened.connect(where)
        except OSError as error:
            opened.close()
            problem = error
        else:
            return opened
    if problem is None and forbidden is not None:
        raise forbidden
    why = "no answer" if isinstance(problem, TimeoutError) else problem and (problem.strerror or problem)
    raise UnreachableError(f"{host} cannot be reached: {why or 'it has no address'}")


def _check_address(host: str, address: Address, settings: ImagesSettings) -> None:
    """Raise ImageError if `address`, to which `host` leads, is private and not allowed."""
    inner = _inner(address)
    if not is_public(inner) and not _is_allowed(host, inner, settings):
        leads = "is" if str(address) == host else f"leads to {address},"
        raise ImageError(
            f"{NOT_ALLOWED}{host} {leads} a private address; if it is yours, add it to images -> allow_private"
        )


def is_public(address: Address) -> bool:
    """Return whether an address is one of the public internet: not private, loopback, link-local or multicast."""
    odd = address.is_multicast or address.is_reserved or address.is_unspecified
    return address.is_global and not odd and not getattr(address, "is_site_local", False)


def _inner(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_allowed(host: str, address: Address, settings: ImagesSettings) -> bool:
    for entry in settings.allow_private:
        try:
            if address in ip_network(entry):
                return True
        except ValueError:
            if entry == host.lower().rstrip("."):
                return True
    return False
