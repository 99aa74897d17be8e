"""Which proxy requests go through: the client and `azinfer doctor` agree."""

from __future__ import annotations

import pytest

from azinfer.core import ConfigurationError, InferenceClient
from azinfer.core.proxies import proxy_of
from azinfer.local.cli.network_checks import check_network
from client_driver import USER

PROXY = "http://proxy.example:3128"
CASES: list[tuple[str, dict[str, str], str | None]] = [
    ("https://a.example", {}, None),
    ("https://a.example", {"HTTPS_PROXY": PROXY}, PROXY),
    ("http://a.example", {"HTTPS_PROXY": PROXY}, None),
    ("https://a.example", {"ALL_PROXY": PROXY}, PROXY),
    ("https://a.example", {"HTTPS_PROXY": "proxy.example:3128"}, PROXY),
    ("https://127.0.0.1:5001", {"HTTPS_PROXY": PROXY}, None),
    ("https://localhost:5001", {"ALL_PROXY": PROXY}, None),
    ("https://[::1]:5001", {"HTTPS_PROXY": PROXY}, None),
    ("https://a.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, None),
    ("https://a.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": "b.example, a.example"}, None),
    ("https://b.a.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": ".a.example"}, None),
    ("https://ba.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": "a.example"}, PROXY),
    ("https://a.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": "a.example:443"}, None),
    ("https://a.example:8443", {"HTTPS_PROXY": PROXY, "NO_PROXY": "a.example:443"}, PROXY),
    ("https://10.1.2.3", {"HTTPS_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8"}, None),
    ("https://11.1.2.3", {"HTTPS_PROXY": PROXY, "NO_PROXY": "x, 10.0.0.0/8"}, PROXY),
    ("https://10.1.2.3", {"HTTPS_PROXY": PROXY, "NO_PROXY": "10.1.2.3"}, None),
    ("https://[fd00::1]", {"HTTPS_PROXY": PROXY, "NO_PROXY": "fd00::/8"}, None),
    ("https://a.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8"}, PROXY),
]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize(("url", "environ", "proxy"), CASES)
def test_the_proxy_of_a_url(
    monkeypatch: pytest.MonkeyPatch, url: str, environ: dict[str, str], proxy: str | None
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert proxy_of(url) == proxy
    if proxy is not None:
        (finding,) = check_network(url)
        assert (finding.step, proxy in finding.detail) == ("proxy", True)


def test_doctor_does_not_show_the_password_of_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy.example:3128/")
    (finding,) = check_network("https://a.example")
    assert "proxy.example:3128" in finding.detail
    assert "secret" not in finding.detail


def test_a_proxy_that_cannot_be_used_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "ftp://me:secret@proxy.example:3128")
    with pytest.raises(ConfigurationError, match=r"proxy\.example:3128 cannot be used") as caught:
        InferenceClient("https://a.example/openai/v1", "a-key", "m").complete(USER)
    assert "secret" not in str(caught.value)
