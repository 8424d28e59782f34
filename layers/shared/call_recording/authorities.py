"""Which certificate authorities are trusted: all of certifi's, each looked up when it is needed.

Reading the whole bundle costs every new connection more than forty warm starts. The build writes the same
certificates as a folder in which OpenSSL looks up by name; where that is missing, or the environment names other
authorities (`AWS_CA_BUNDLE`, `REQUESTS_CA_BUNDLE`), everything is as it would be without this module.
"""

from pathlib import Path
from typing import Any, Final

from botocore.client import BaseClient

FOLDER: Final = Path(__file__).parents[2] / "authorities"
"""Beside the layer's `python`."""


def instead_of(verify: bool | str | None) -> bool | str | None:  # noqa: FBT001 (requests' own)
    """Return what `requests` shall verify with: the folder where that would be certifi's bundle."""
    return str(FOLDER) if verify is True and FOLDER.is_dir() else verify


def look_up_for(client: BaseClient) -> None:
    """Have an AWS client look authorities up in the folder, where it would read certifi's bundle.

    botocore takes a bundle in one file and no folder, though urllib3 and OpenSSL below it do. So the way is through its
    private parts: where a later version has others, it reads the bundle as before.
    """
    session: Any = getattr(getattr(client, "_endpoint", None), "http_session", None)
    set_up = getattr(session, "_setup_ssl_cert", None)
    if set_up is None or not FOLDER.is_dir():
        return

    def set_up_with_folder(pool: Any, url: str, verify: object) -> None:
        set_up(pool, url, verify)
        if verify is True and pool.ca_certs:
            pool.ca_certs, pool.ca_cert_dir = None, str(FOLDER)

    session._setup_ssl_cert = set_up_with_folder  # noqa: SLF001 (see above)
