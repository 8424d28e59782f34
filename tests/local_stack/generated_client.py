"""A program that uses the client which openapi-python-client made: start, repeat, list, pause, and two mistakes.

It runs in the environment of the `audit` tools, where the client's libraries are, and prints what it was answered.
"""

import importlib
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


def main(folder: str, call_sid: str) -> None:
    """Use the package `client` in that folder on that call; where and by whom is in the environment."""
    sys.path.insert(0, folder)
    made, models, httpx = (importlib.import_module(name) for name in ("client", "client.models", "httpx"))

    class Signed(httpx.Auth):  # type: ignore[name-defined,misc]
        requires_request_body = True

        def auth_flow(self, request: Any) -> Iterator[Any]:
            signed = AWSRequest(
                request.method,
                str(request.url),
                data=request.content,
                headers={"content-type": request.headers.get("content-type", "")},
            )
            keys = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
            SigV4Auth(keys, "execute-api", os.environ["AWS_REGION"]).add_auth(signed)
            request.headers.update({name: str(value) for name, value in signed.headers.items()})
            yield request

    client = made.Client(base_url=os.environ["API_URL"], httpx_args={"auth": Signed()})

    def answer(operation: str, *path: str, **asked: Any) -> Any:
        got = importlib.import_module(f"client.api.{operation}").sync_detailed(*path, client=client, **asked)
        told = {"operation": operation, "status": got.status_code, "model": type(got.parsed).__name__}
        print(json.dumps(told | {"parsed": got.parsed.to_dict()}))  # noqa: T201
        return got.parsed

    dual = models.StartRequest.from_dict({"RecordingChannels": "dual"})
    started = answer("start_and_control.start_recording", call_sid, body=dual, idempotency_key="one")
    answer("start_and_control.start_recording", call_sid, body=models.StartRequest.from_dict({}), idempotency_key="one")
    form = models.StartForm.from_dict({"RecordingChannels": "dual"})
    answer("start_and_control.start_recording", call_sid, body=form, idempotency_key="one")
    answer("read.list_call_recordings", call_sid)
    pause = models.ControlRequest.from_dict({"Status": "paused", "ResumeWithinSeconds": 60})
    answer("start_and_control.control_recording", call_sid, started.sid, body=pause)
    answer("read.get_recording", "RE" + "0" * 32)


if __name__ == "__main__":
    main(*sys.argv[1:])
