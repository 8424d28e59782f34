"""Events as API Gateway hands them to a function: payload 1.0 of a REST API and 2.0 of an HTTP API."""

import base64
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

_ACCOUNT_ID = "123456789012"


def rest_api_event(  # noqa: PLR0913 (the parts of a request)
    method: str,
    *,
    resource: str,
    path_parameters: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    body: str | None = None,
    query: str = "",
) -> dict[str, Any]:
    """Return a request through a REST API (payload 1.0) with IAM authorization."""
    headers, path = headers or {"Accept": "*/*"}, resource.format(**(path_parameters or {}))
    values = parse_qs(query, keep_blank_values=True)
    return {
        "resource": resource,
        "path": path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": {name: several[-1] for name, several in values.items()} or None,
        "multiValueQueryStringParameters": values or None,
        "pathParameters": path_parameters,
        "stageVariables": None,
        "requestContext": {
            "accountId": _ACCOUNT_ID,
            "apiId": "a1b2c3d4e5",
            "domainName": "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com",
            "httpMethod": method,
            "identity": {
                "accountId": _ACCOUNT_ID,
                "caller": "AROAEXAMPLE:agent-desktop",
                "sourceIp": "192.0.2.10",
                "user": "AROAEXAMPLE:agent-desktop",
                "userArn": f"arn:aws:sts::{_ACCOUNT_ID}:assumed-role/agent-desktop/agent-desktop",
            },
            "path": f"/v1{path}",
            "protocol": "HTTP/1.1",
            "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
            "requestTimeEpoch": 1795332780000,
            "resourceId": "123456",
            "resourcePath": resource,
            "stage": "v1",
        },
        "body": body,
        "isBase64Encoded": False,
    }


def http_api_event(  # noqa: PLR0913 (the parts of a request)
    method: str,
    url: str,
    *,
    headers: dict[str, str],
    body: bytes = b"",
    resource: str | None = None,
    path_parameters: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Return a request through an HTTP API (payload 2.0): header names in lower case, form bodies in base64."""
    parts = urlsplit(url)
    lower = {name.lower(): value for name, value in headers.items()}
    is_text = lower.get("content-type", "").startswith("application/json")
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": f"{method} {resource or parts.path}",
        "rawPath": parts.path,
        "rawQueryString": parts.query,
        "headers": {"content-length": str(len(body)), "host": parts.netloc, **lower},
    }
    if parts.query:
        values = parse_qs(parts.query, keep_blank_values=True)
        event["queryStringParameters"] = {unquote(name): ",".join(several) for name, several in values.items()}
    if path_parameters:
        event["pathParameters"] = path_parameters
    event["requestContext"] = {
        "accountId": _ACCOUNT_ID,
        "apiId": parts.netloc.partition(".")[0],
        "domainName": parts.netloc,
        "domainPrefix": parts.netloc.partition(".")[0],
        "http": {
            "method": method,
            "path": parts.path,
            "protocol": "HTTP/1.1",
            "sourceIp": "192.0.2.20",
            "userAgent": lower.get("user-agent", ""),
        },
        "requestId": "JKJaXmPLvHcESHA=",
        "routeKey": f"{method} {resource or parts.path}",
        "stage": "$default",
        "time": "22/Nov/2026:07:33:00 +0000",
        "timeEpoch": 1795332780000,
    }
    if body:
        event["body"] = body.decode() if is_text else base64.b64encode(body).decode()
    event["isBase64Encoded"] = bool(body) and not is_text
    return event
