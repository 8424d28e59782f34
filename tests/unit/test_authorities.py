"""What is trusted is what certifi trusts, however it is looked up, unless the environment says otherwise."""

import contextlib
import importlib.util
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from types import ModuleType
from typing import Any, override

import boto3
import botocore.exceptions
import certifi
import pytest
import requests
from botocore.config import Config
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from OpenSSL.crypto import FILETYPE_PEM, load_certificate

from call_recording import authorities
from call_recording.clients import _kept
from call_recording.twilio.api import media_session, session
from local.stack import PROJECT
from tests.tls import Authority, name


def _build_step(file: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file, PROJECT / f"layers/shared/building/{file}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


building = _build_step("authorities")
ODD_SUBJECTS = [
    x509.Name([]),
    name("  many   blanks\tand LETTERS  "),
    name("Ångström É"),
    name("x" * 60),
    x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Wide ß", _type=_ASN1Type.BMPString)]),
    x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Wider ß", _type=_ASN1Type.UniversalString)]),
    x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Old", _type=_ASN1Type.T61String)]),
    x509.Name([x509.NameAttribute(NameOID.EMAIL_ADDRESS, "A@Example.com", _type=_ASN1Type.IA5String)]),
    x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "AT", _type=_ASN1Type.PrintableString)] * 2),
    x509.Name(
        [
            x509.RelativeDistinguishedName(
                [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Z"), x509.NameAttribute(NameOID.COMMON_NAME, "a")]
            ),
            *(
                x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "long " * 12)])
                for _ in range(5)
            ),
        ]
    ),
]


END = "-----END CERTIFICATE-----\n"


def certificates(bundle: str) -> set[bytes]:
    return {ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN") :] + END) for pem in bundle.split(END)[:-1]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return a function that makes the folder from a bundle, as the build does, and has it looked up in."""

    def make(bundle: str) -> Path:
        source, made = tmp_path / "bundle.pem", tmp_path / "authorities"
        source.write_text(bundle)
        monkeypatch.setattr(sys, "argv", ["authorities.py", str(source), str(made)])
        building.main()
        monkeypatch.setattr(authorities, "FOLDER", made)
        return made

    return make


def test_the_folder_has_all_of_certifis_authorities_and_no_others(folder: Callable[[str], Path]) -> None:
    bundle = Path(certifi.where()).read_text()

    made = folder(bundle)

    assert certificates("".join(path.read_text() for path in made.iterdir())) == certificates(bundle)
    assert len(list(made.iterdir())) == bundle.count("-----BEGIN CERTIFICATE-----") > 100


@pytest.mark.parametrize(
    "bundle",
    [Path(certifi.where()).read_text(), *(Authority.make(subject).pem for subject in ODD_SUBJECTS)],
    ids=["certifi", *(subject.rfc4514_string() for subject in ODD_SUBJECTS)],
)
def test_each_file_is_named_as_openssl_looks_for_it(bundle: str) -> None:
    for file, pem in building.files(bundle).items():
        openssl = load_certificate(FILETYPE_PEM, pem.encode()).subject_name_hash()
        assert file == f"{openssl:08x}.0"


def test_two_authorities_of_one_name_are_both_there() -> None:
    pems = [Authority.make().pem, Authority.make().pem]

    files = building.files("".join(pems))

    assert list(files.values()) == pems
    assert [file[8:] for file in files] == [".0", ".1"]


class _Says(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    @override
    def log_message(self, *_: object) -> None:
        pass


class _Quiet(ThreadingHTTPServer):
    @override
    def handle_error(self, *_: object) -> None:
        """Refused handshakes are what is tested."""


@pytest.fixture
def authority() -> Authority:
    return Authority.make()


@pytest.fixture
def url(authority: Authority) -> Iterator[str]:
    """A server that the authority answers for."""
    server = _Quiet(("127.0.0.1", 0), _Says)
    server.socket = authority.context().wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)


_SESSION = boto3.Session(aws_access_key_id="testing", aws_secret_access_key="testing")


def by_twilios_session(url: str) -> None:
    asked = requests.Request("GET", url).prepare()
    session.cache_clear()
    session(url).send(asked, timeout=5)


def by_the_session_for_media(url: str) -> None:
    media_session(url).send(requests.Request("GET", url).prepare(), timeout=5)


def by_a_client_of_aws(url: str) -> None:
    once = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=5)
    client = _kept(_SESSION.client("dynamodb", region_name="us-east-1", endpoint_url=url, config=once))
    client.get_item(TableName="rows", Key={"id": {"S": "1"}})


WAYS = [by_twilios_session, by_the_session_for_media, by_a_client_of_aws]
REFUSED = (requests.exceptions.SSLError, botocore.exceptions.SSLError)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What OpenSSL is told to trust from now on."""
    told: list[dict[str, Any]] = []

    class Context(ssl.SSLContext):
        def load_verify_locations(self, cafile: Any = None, capath: Any = None, cadata: Any = None) -> None:
            told.append({"cafile": cafile, "capath": capath})
            super().load_verify_locations(cafile, capath, cadata)

    monkeypatch.setattr("urllib3.util.ssl_.SSLContext", Context)
    monkeypatch.setattr("botocore.httpsession.SSLContext", Context)
    return told


@pytest.mark.parametrize("way", WAYS)
def test_whom_an_authority_in_the_folder_answers_for_is_trusted_and_no_bundle_is_read(
    way: Callable[[str], None],
    url: str,
    authority: Authority,
    folder: Callable[[str], Path],
    loaded: list[dict[str, Any]],
) -> None:
    made = folder(Authority.make(name("Another")).pem + authority.pem)

    way(url)

    assert loaded == [{"cafile": None, "capath": str(made)}]


@pytest.mark.parametrize("way", WAYS)
def test_whom_only_others_answer_for_is_refused(
    way: Callable[[str], None], url: str, folder: Callable[[str], Path]
) -> None:
    folder(Authority.make(name("Another")).pem + Authority.make().pem)

    with pytest.raises(REFUSED):
        way(url)


@pytest.mark.parametrize("way", WAYS)
def test_without_a_folder_certifis_bundle_is_read(
    way: Callable[[str], None], url: str, loaded: list[dict[str, Any]]
) -> None:
    assert not authorities.FOLDER.exists()

    with pytest.raises(REFUSED):
        way(url)

    assert {told["cafile"] for told in loaded} == {certifi.where()}


@pytest.mark.parametrize("way", WAYS)
def test_a_bundle_that_the_environment_names_is_the_one_that_counts(
    way: Callable[[str], None],
    url: str,
    authority: Authority,
    folder: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own, folder_of_others = tmp_path / "own.pem", Authority.make(name("Another")).pem
    own.write_text(authority.pem)
    folder(folder_of_others)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(own))

    way(url)

    own.write_text(folder_of_others)
    with pytest.raises(REFUSED):
        way(url)


def test_a_bundle_that_the_environment_names_for_aws_counts_there(
    url: str, authority: Authority, folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.pem"
    own.write_text(Authority.make(name("Another")).pem)
    folder(authority.pem)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(own))

    with pytest.raises(REFUSED):
        by_a_client_of_aws(url)


@pytest.fixture
def tunnels(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What was reached through the proxy that the environment names."""
    reached: list[str] = []

    class Proxy(StreamRequestHandler):
        @override
        def handle(self) -> None:
            target = self.rfile.readline().split()[1].decode()
            while self.rfile.readline().strip():
                pass
            reached.append(target)
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            host, port = target.split(":")
            with socket.create_connection((host, int(port))) as server:
                back = threading.Thread(target=self._carry, args=(server, self.connection))
                back.start()
                self._carry(self.connection, server)
                back.join()

        @staticmethod
        def _carry(source: socket.socket, target: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while sent := source.recv(65_536):
                    target.sendall(sent)
                target.shutdown(socket.SHUT_WR)

    with ThreadingTCPServer(("127.0.0.1", 0), Proxy) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.server_address[1]}")
        for variable in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(variable, raising=False)
        yield reached
        server.shutdown()
        server.block_on_close = False


@pytest.mark.parametrize("way", WAYS[::2])
def test_authorities_are_looked_up_through_a_proxy_too(
    way: Callable[[str], None],
    url: str,
    authority: Authority,
    folder: Callable[[str], Path],
    tunnels: list[str],
    loaded: list[dict[str, Any]],
) -> None:
    made = folder(authority.pem)

    way(url)

    assert tunnels == [url.removeprefix("https://")]
    assert loaded == [{"cafile": None, "capath": str(made)}]


def test_a_botocore_that_is_made_otherwise_is_left_as_it_is(
    folder: Callable[[str], Path], authority: Authority
) -> None:
    folder(authority.pem)
    of_tomorrow: Any = object()

    authorities.look_up_for(of_tomorrow)
