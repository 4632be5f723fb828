"""Which URLs are fetched and which addresses connected to (fault 38)."""

import socket
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from attributree.errors import ImageError, UnreachableError
from attributree.images.addresses import check_url, connect, file_of, is_public, is_remote, normal_url
from attributree.settings.models import ImagesSettings

DEFAULT = ImagesSettings()


@pytest.mark.parametrize("cell", ["https://a.example/1.jpg", "S3://bucket/1.jpg", "gopher://a.example/"])
def test_a_cell_with_a_scheme_is_remote(cell: str) -> None:
    assert is_remote(cell)


@pytest.mark.parametrize(
    "cell", ["a/1.jpg", "/a/1.jpg", "file:///a/1.jpg", "FILE:///1.jpg", "a b: c//1.jpg", "C:\\1.jpg"]
)
def test_a_path_is_not_remote_however_it_is_written(cell: str) -> None:
    assert not is_remote(cell)


@pytest.mark.parametrize(
    ("url", "path"),
    [("file:///a/1.jpg", "/a/1.jpg"), ("file://localhost/a%20b.jpg", "/a b.jpg"), ("FILE:///a#1?.jpg", "/a#1?.jpg")],
)
def test_a_file_url_is_a_path(url: str, path: str) -> None:
    assert file_of(url) == path


def test_a_file_url_of_another_host_is_refused() -> None:
    with pytest.raises(ImageError, match="of the host 'nas'"):
        file_of("file://nas/share/1.jpg")


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("HTTPS://CDN.Shop.example/A.jpg#top", "https://cdn.shop.example/A.jpg"),
        ("https://a.example:443/1.jpg?v=2", "https://a.example/1.jpg?v=2"),
        ("http://a.example:80", "http://a.example/"),
        ("https://a.example:8443/1.jpg", "https://a.example:8443/1.jpg"),
        ("S3://Bucket/a#b?c.jpg", "s3://Bucket/a#b?c.jpg"),
        ("https://[half/1.jpg", "https://[half/1.jpg"),
    ],
)
def test_a_url_has_one_spelling(url: str, normal: str) -> None:
    assert normal_url(url) == normal == normal_url(normal)


@pytest.mark.parametrize("url", ["https://a.example/1.jpg", "s3://bucket/a/1.jpg", "gs://bucket/1.jpg"])
def test_public_urls_are_allowed(url: str) -> None:
    check_url(url, DEFAULT)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://a.example/1.jpg", 'not allowed: http:// is not among images -> schemes .* add "http"'),
        ("ftp://a.example/1.jpg", "not allowed: ftp:// is not fetched; give a path or a URL of https, s3, gs"),
        ("gopher://a.example/", "not allowed: gopher://"),
        ("https://127.0.0.1/1.jpg", "not allowed: 127.0.0.1 is a private address; .*allow_private"),
        ("https://169.254.169.254/latest/meta-data", "not allowed: 169.254.169.254 is a private"),
        ("https://10.1.2.3:8080/1.jpg", "not allowed: 10.1.2.3"),
        ("https://[::1]/1.jpg", "not allowed: ::1"),
        ("https://[::ffff:10.0.0.1]/1.jpg", "not allowed"),
        ("https://mia:secret@a.example/1.jpg", "not allowed: the URL holds a user name or a password$"),
        ("https:///1.jpg", "names no host"),
        ("https://[half/1.jpg", "not a URL that can be read"),
        ("https://a.example:99999/1.jpg", "not a URL that can be read"),
        ("s3://bucket", "names no object"),
        ("s3://bucket/", "names no object"),
    ],
)
def test_what_a_label_file_must_not_name_is_refused_without_a_network(
    url: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("was looked up"))
    with pytest.raises(ImageError, match=reason) as error:
        check_url(url, DEFAULT)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "127.8.8.8",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
        ),
        *("224.0.0.1", "239.255.255.250", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1"),
        *("::", "::1", "fe80::1", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "::127.0.0.1", "2001:db8::1"),
    ],
)
def test_private_addresses_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Makes names resolve to addresses, one list a question; returns the list of what was asked."""

    def resolve(*answers: list[str]) -> list[str]:
        asked: list[str] = []

        def answer(host: str, port: int, **_: Any) -> list[Any]:
            asked.append(host)
            addresses = answers[min(len(asked), len(answers)) - 1]
            return [
                (socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port))
                for a in addresses
            ]

        monkeypatch.setattr(socket, "getaddrinfo", answer)
        return asked

    return resolve


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::"],
)
def test_a_name_that_leads_to_a_private_address_is_never_connected_to(
    names: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    names([address])
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("was connected to"))
    with pytest.raises(ImageError, match=r"not allowed: cdn\.example leads to .*, a private address"):
        connect("cdn.example", 443, DEFAULT)


def test_a_name_is_resolved_once_and_the_address_that_was_looked_at_is_connected_to(
    names: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = names(["93.184.216.34"], ["127.0.0.1"])  # the second answer is the attack
    reached: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, where: reached.append(where))
    connect("cdn.example", 443, DEFAULT).close()
    assert asked == ["cdn.example"]
    assert reached == [("93.184.216.34", 443)]


def test_of_several_addresses_only_public_ones_are_tried(
    names: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    names(["10.0.0.1", "93.184.216.34"])
    reached: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, where: reached.append(where))
    connect("cdn.example", 443, DEFAULT).close()
    assert reached == [("93.184.216.34", 443)]


@pytest.mark.parametrize("entry", ["10.20.0.0/16", "10.20.0.7", "media.shop.internal", "MEDIA.shop.internal"])
def test_a_private_address_may_be_allowed_by_network_address_or_name(
    names: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    names(["10.20.0.7"])
    monkeypatch.setattr(socket.socket, "connect", lambda *_: None)
    allowed = ImagesSettings(allow_private=(entry,))
    connect("media.shop.internal", 443, allowed).close()
    names(["10.21.0.7"])
    with pytest.raises(ImageError, match="not allowed"):
        connect("other.shop.internal", 443, allowed)


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "https://a.example", "a b", "", "10.0.0.300"])
def test_an_entry_that_names_nothing_is_a_wrong_setting(entry: str) -> None:
    with pytest.raises(ValidationError, match="must be an address, a network such as"):
        ImagesSettings(allow_private=(entry,))


def test_a_host_that_is_not_there_is_unreachable() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1 cannot be reached: .*refused"):
        connect("127.0.0.1", port, ImagesSettings(allow_private=("127.0.0.1",)))
    with pytest.raises(UnreachableError, match="cannot be reached"):
        connect("a" * 70 + ".example", 443, DEFAULT)


def test_a_path_is_never_a_socket(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="not allowed"):
        check_url(f"file://{tmp_path}/1.jpg", DEFAULT)
