"""Addresses of requests: the host, port and path that a URL leads to."""

from __future__ import annotations

import pytest

from azinfer.core import ConfigurationError
from azinfer.core.network.address import Address, Origin, parse_address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://h/a", Address("h", 443, "/a", "h")),
        ("https://h:443/a", Address("h", 443, "/a", "h")),
        ("https://h:444/a", Address("h", 444, "/a", "h:444")),
        ("http://h", Address("h", 80, "/", "h")),
        ("http://h:0/", Address("h", 0, "/", "h:0")),
        ("http://[::1]:81/a?b=c", Address("::1", 81, "/a?b=c", "[::1]:81")),
        (
            "https://bücher.example/ü ö",
            Address("xn--bcher-kva.example", 443, "/%C3%BC%20%C3%B6", "xn--bcher-kva.example"),
        ),
        ("https://h/a%2Fb?x=%25", Address("h", 443, "/a%2Fb?x=%25", "h")),
        ("https://h/a#fragment", Address("h", 443, "/a", "h")),
    ],
)
def test_a_url_becomes_host_port_target_and_host_header(url: str, address: Address) -> None:
    assert parse_address(url) == address


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://h/", "is not a valid http"),
        ("https:///a", "is not a valid http"),
        ("https://h:99999/", "Port out of range"),
        ("https://h/" + "a" * 65_536, "is longer than 65536 characters"),
    ],
)
def test_a_url_that_is_not_valid_is_refused_without_its_query(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        parse_address(f"{url}?code=secret")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://localhost", "http://127.0.0.1:80", "http://[::1]"])
def test_plain_http_on_this_machine_needs_no_settings(url: str) -> None:
    assert Origin.in_environment(url, {"SSL_CERT_FILE": "a"}) == Origin(url, None)


def test_other_origins_depend_on_the_certificates_in_the_environment() -> None:
    url = "https://contoso.openai.azure.com"
    first = Origin.in_environment(url, {"SSL_CERT_FILE": "a"})
    assert first == Origin.in_environment(url, {"SSL_CERT_FILE": "a", "OTHER": "b"})
    assert first != Origin.in_environment(url, {"SSL_CERT_FILE": "b"})
    assert Origin.in_environment("https://localhost", {}).settings is not None
