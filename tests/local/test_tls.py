"""https on a local machine: an authority is created once and trusted through existing variables."""

from __future__ import annotations

import datetime
import os
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from azinfer.core import ConfigurationError, InferenceError
from azinfer.local import LocalEndpoint
from azinfer.local.directories import data_folder
from azinfer.local.server.certificate_authority import Authority

NOW = datetime.datetime.now(datetime.UTC)


def handshake(server: ssl.SSLContext, ca_file: Path, host: str = "127.0.0.1") -> None:
    """One real handshake with a server of these settings, checked against an authority.

    Raises:
        ssl.SSLError: The client does not trust the server.
    """

    def serve() -> None:
        accepted, _ = listening.accept()
        try:
            with server.wrap_socket(accepted, server_side=True) as secured:
                secured.recv(1)
        except OSError:
            accepted.close()

    client = ssl.create_default_context(cafile=str(ca_file))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with (
                socket.create_connection(listening.getsockname()) as plain,
                client.wrap_socket(plain, server_hostname=host),
            ):
                pass
        finally:
            thread.join()


def serial(path: Path) -> int:
    return x509.load_pem_x509_certificate((path / "authority.pem").read_bytes()).serial_number


def test_an_authority_is_created_once_and_only_its_owner_can_read_its_key(tmp_path: Path) -> None:
    where = tmp_path / "data"
    authority = Authority(where)
    values = (where / "authority.pem").read_bytes()
    assert stat.S_IMODE((where / "authority.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE(where.stat().st_mode) == 0o700
    assert b"PRIVATE" not in authority.ca_file.read_bytes()
    again = Authority(where)
    assert (where / "authority.pem").read_bytes() == values
    assert {each.name for each in where.iterdir()} == {"authority.pem", "ca-bundle.pem"}
    for host in ("127.0.0.1", "localhost", "::1"):
        handshake(again.server_context(), authority.ca_file, host)


def test_the_authority_is_trusted_beside_all_others(tmp_path: Path) -> None:
    client = ssl.create_default_context(cafile=str(Authority(tmp_path).ca_file))
    subjects = [str(each["subject"]) for each in client.get_ca_certs()]
    assert len(subjects) > 100
    assert sum("azinfer local authority" in each for each in subjects) == 1


@pytest.mark.parametrize(("days", "made_anew"), [(3000, False), (3260, True), (4000, True)])
def test_an_authority_is_renewed_before_it_ends(tmp_path: Path, days: int, made_anew: bool) -> None:
    Authority(tmp_path)
    before = serial(tmp_path)
    later = NOW + datetime.timedelta(days=days)
    Authority(tmp_path, lambda: later)
    assert (serial(tmp_path) != before) is made_anew
    bundle = (tmp_path / "ca-bundle.pem").read_bytes()
    certificate = x509.load_pem_x509_certificate((tmp_path / "authority.pem").read_bytes())
    assert certificate.public_bytes(serialization.Encoding.PEM) in bundle


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b"CERTIFICATE", b"CERTIFICATES"),
        lambda data: data.split(b"-----END PRIVATE KEY-----\n")[1],
    ],
    ids=["empty", "half", "no certificate", "no key"],
)
def test_a_damaged_authority_is_replaced(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "authority.pem"
    Authority(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    authority = Authority(tmp_path)
    handshake(authority.server_context(), authority.ca_file)


MAKING = """
import sys
from pathlib import Path
from azinfer.local.server.certificate_authority import Authority
sys.stdin.read()
authority = Authority(Path(sys.argv[1]))
print(authority._certificate.serial_number)
"""


def test_processes_that_start_together_share_one_authority(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MAKING, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    values = {process.communicate(timeout=60)[0] for process in processes}
    assert values == {f"{serial(tmp_path)}\n"}


def test_the_authority_is_limited_to_this_machine(tmp_path: Path) -> None:
    """Somebody who stole its key signs with it for a host of the internet."""
    ca_file = Authority(tmp_path).ca_file
    data = (tmp_path / "authority.pem").read_bytes()
    stolen = serialization.load_pem_private_key(data, None)
    assert isinstance(stolen, ec.EllipticCurvePrivateKey)
    authority = x509.load_pem_x509_certificate(data)

    def server(host: str) -> ssl.SSLContext:
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(authority.subject)
            .public_key(stolen.public_key())
            .serial_number(1)
            .not_valid_before(NOW - datetime.timedelta(hours=1))
            .not_valid_after(NOW + datetime.timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(stolen.public_key()), False
            )
            .sign(stolen, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )
        path = tmp_path / "forged.pem"
        path.write_bytes(data.split(b"-----BEGIN CERTIFICATE-----")[0] + certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    handshake(server("localhost"), ca_file, "localhost")
    for host in ("contoso.openai.azure.com", "localhost.evil.example"):
        with pytest.raises(ssl.SSLError, match="permitted subtree violation"):
            handshake(server(host), ca_file, host)


def test_a_client_that_does_not_trust_it_refuses(secure: LocalEndpoint) -> None:
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(secure.url)


def test_the_data_folder_is_the_users_or_the_environments(tmp_path: Path) -> None:
    assert data_folder({"AZINFER_DATA": str(tmp_path)}) == tmp_path
    assert data_folder({}).name == "azinfer"
    (tmp_path / "file").write_text("x")
    with pytest.raises(InferenceError, match=r"cannot be kept in .*AZINFER_DATA"):
        Authority(tmp_path / "file" / "data")


def test_https_is_for_this_machine() -> None:
    with pytest.raises(ConfigurationError, match="https works only for loopback addresses"):
        LocalEndpoint(host="192.0.2.1", key="k", https=True)
    assert LocalEndpoint().ca_file is None


INFERENCE = """
import asyncio, os
from azure.ai.inference import ChatCompletionsClient
from azure.ai.inference.aio import ChatCompletionsClient as AsyncChatCompletionsClient
from azure.identity import ClientSecretCredential
from azure.identity.aio import ClientSecretCredential as AsyncClientSecretCredential

url, key = os.environ["AZURE_AI_ENDPOINT"], os.environ["AZURE_AI_API_KEY"]
entra = {"authority": url, "disable_instance_discovery": True}
named = {
    "endpoint": f"{url}/models",
    "model": "chat",
    "credential_scopes": ["https://cognitiveservices.azure.com/.default"],
}
request = {"messages": [{"role": "user", "content": "hi"}]}

with ClientSecretCredential("t", "c", key, **entra) as credential:
    with ChatCompletionsClient(credential=credential, **named) as client:
        print(client.complete(**request).choices[0].message.content)
        parts = client.complete(**request, stream=True)
        print("".join(each.choices[0].delta.content or "" for each in parts if each.choices))

async def asking():
    async with (
        AsyncClientSecretCredential("t", "c", key, **entra) as credential,
        AsyncChatCompletionsClient(credential=credential, **named) as client,
    ):
        print((await client.complete(**request)).choices[0].message.content)

asyncio.run(asking())
"""


def ask(code: str, endpoint: LocalEndpoint, *variables: str) -> list[str]:
    """Return the output of a program whose environment names the endpoint and its authority."""
    assert endpoint.ca_file is not None
    environ = {
        **{name: value for name, value in os.environ.items() if "CERT" not in name},
        "AZURE_AI_ENDPOINT": endpoint.url,
        "AZURE_AI_API_KEY": endpoint.key,
        **dict.fromkeys(variables, endpoint.ca_file),
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


SAID = "This is a synthetic answer to: hi"


def test_azure_ai_inference_with_tokens_needs_only_the_environment(secure: LocalEndpoint) -> None:
    # requests, on which its sync clients rest, has a variable of its own.
    result = ask(INFERENCE, secure, "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
    assert result == [SAID] * 3


def test_untrusted_clients_are_refused(secure: LocalEndpoint) -> None:
    with pytest.raises(AssertionError, match="CERTIFICATE_VERIFY_FAILED"):
        ask(INFERENCE, secure)
