"""Write a bundle of certificate authorities as a folder in which OpenSSL looks up the one that it needs.

`sam build` runs this, where nothing is installed but Python. Each certificate is a file named by the hash of its
subject, as `openssl rehash` names it (https://docs.openssl.org/3.0/man1/openssl-rehash/).
"""

import base64
import hashlib
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----\n(.+?)-----END CERTIFICATE-----\n", re.DOTALL)
_SEQUENCE: Final = 0x30
_SET: Final = 0x31
_VERSION: Final = 0xA0
_UTF8: Final = 0x0C
_ENCODINGS: Final = {
    _UTF8: "utf-8",
    0x13: "ascii",  # PrintableString
    0x14: "latin-1",  # T61String, as OpenSSL reads it
    0x16: "ascii",  # IA5String
    0x1A: "ascii",  # VisibleString
    0x1C: "utf-32-be",  # UniversalString
    0x1E: "utf-16-be",  # BMPString
}
_BLANKS: Final = re.compile(r"[ \t\n\v\f\r]+")


def main() -> None:
    """Read the bundle that the first argument names, write the folder that the second names."""
    bundle, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir()
    for name, pem in files(bundle.read_text()).items():
        (folder / name).write_text(pem)


def files(bundle: str) -> dict[str, str]:
    """Return each certificate of a bundle in PEM by its file's name: its subject's hash, and a number."""
    found: dict[str, str] = {}
    times: Counter[str] = Counter()
    for pem in _PEM.finditer(bundle):
        name = subject_hash(base64.b64decode(pem[1]))
        found[f"{name}.{times[name]}"] = pem[0]
        times[name] += 1
    return found


def subject_hash(certificate: bytes) -> str:
    """Return what OpenSSL looks a certificate (DER) up by: X509_NAME_hash of its subject, in hexadecimal."""
    ((_, signed),) = _elements(certificate)
    (_, to_be_signed), *_ = _elements(signed)
    fields = [content for tag, content in _elements(to_be_signed) if tag != _VERSION]
    subject = fields[4]  # after the serial number, the algorithm, the issuer and the validity
    names = b"".join(_canonical(content) for _, content in _elements(subject))
    digest = hashlib.sha1(names, usedforsecurity=False).digest()
    return f"{int.from_bytes(digest[:4], 'little'):08x}"


def _canonical(name: bytes) -> bytes:
    """Return a relative name as OpenSSL compares it: in UTF-8, without needless blanks, in lower case."""
    parts = []
    for _, attribute in _elements(name):
        (kind, oid), (tag, value) = _elements(attribute)
        if tag in _ENCODINGS:
            text = _BLANKS.sub(" ", value.decode(_ENCODINGS[tag])).strip(" ")
            # ASCII alone: OpenSSL leaves the rest as it is.
            tag, value = _UTF8, text.encode().lower()
        parts.append(_element(_SEQUENCE, _element(kind, oid) + _element(tag, value)))
    return _element(_SET, b"".join(sorted(parts)))


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Give tag and content of each element that stands in `der`, one after the other."""
    at = 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length & 0x80:
            octets = length & 0x7F
            length = int.from_bytes(der[at : at + octets])
            at += octets
        yield tag, der[at : at + length]
        at += length


def _element(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(octets)]) + octets + content


if __name__ == "__main__":
    main()
