"""`make endpoints`: the endpoints of the AWS services that the functions use, from botocore's list of all services.

The file ships with the layer, and `AWS_DATA_PATH` names its folder. For everything else botocore uses its own data.
"""

import json
from typing import Any, Final

from botocore.loaders import Loader

from local.stack import PROJECT

FILE: Final = PROJECT / "layers/shared/aws_data/endpoints.json"
SERVICES: Final = ("dynamodb", "events", "logs", "s3", "scheduler", "secretsmanager", "sqs")
"""The services of the clients in `call_recording/clients.py`."""


def endpoints() -> dict[str, Any]:
    """Return botocore's endpoints with all partitions and Regions, and only our services."""
    known: dict[str, Any] = Loader(
        include_default_search_paths=False, extra_search_paths=[Loader.BUILTIN_DATA_PATH]
    ).load_data("endpoints")
    partitions = [
        partition | {"services": {name: of for name, of in partition["services"].items() if name in SERVICES}}
        for partition in known["partitions"]
    ]
    return known | {"partitions": partitions}


def text() -> str:
    """Return the file: a line for each service, so that a change can be read."""
    written = json.dumps(endpoints(), separators=(",", ":"))
    for name in SERVICES:
        written = written.replace(f'"{name}":{{"defaults"', f'\n"{name}":{{"defaults"').replace(
            f'"{name}":{{"endpoints"', f'\n"{name}":{{"endpoints"'
        )
    return written + "\n"


def main() -> None:
    """Write the file."""
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(text())


if __name__ == "__main__":
    main()
