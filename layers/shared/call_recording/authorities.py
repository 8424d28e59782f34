"""Which certificate authorities are trusted: all of certifi's, each loaded when it is needed.

Reading the whole bundle costs every new connection more than forty warm starts. The build writes the same
certificates into a folder in which OpenSSL finds them by name. If the folder is missing, or the environment names
other authorities (`AWS_CA_BUNDLE`, `REQUESTS_CA_BUNDLE`), this module changes nothing.
"""

from pathlib import Path
from typing import Any, Final

from botocore.client import BaseClient

FOLDER: Final = Path(__file__).parents[2] / "authorities"
"""Next to the layer's `python`."""


def instead_of(verify: bool | str | None) -> bool | str | None:  # noqa: FBT001 (requests' own)
    """Return what `requests` must verify with: the folder, if it would otherwise be certifi's bundle."""
    return str(FOLDER) if verify is True and FOLDER.is_dir() else verify


def look_up_for(client: BaseClient) -> None:
    """Make an AWS client use the folder, if it would otherwise read certifi's bundle.

    botocore accepts only a bundle in one file, though urllib3 and OpenSSL below it accept a folder. So this changes
    private attributes: if a later version has others, it reads the bundle as before.
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
