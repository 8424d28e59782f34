"""A deployed stack, as CloudFormation describes it: its parameters, outputs and resources."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config


class Deployed:
    """A stack by its name, read with your own AWS credentials. Nothing here changes anything."""

    def __init__(self, name: str, session: boto3.Session) -> None:
        self.name = name
        self._session = session
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """Return a client for that service in the stack's Region."""
        if service not in self._clients:
            config = Config(connect_timeout=5, read_timeout=15, retries={"total_max_attempts": 3})
            self._clients[service] = self._session.client(service, config=config)  # type: ignore[call-overload]
        return self._clients[service]

    def every(self, service: str, operation: str, member: str, **asked: Any) -> Iterator[Any]:
        """Yield each item of a list that AWS returns in pages."""
        for page in self.client(service).get_paginator(operation).paginate(**asked):
            yield from page.get(member, [])

    @cached_property
    def description(self) -> dict[str, Any]:
        """CloudFormation's description of the stack; raises botocore's ClientError if there is no such stack."""
        described: dict[str, Any] = self.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"][0]
        return described

    @cached_property
    def parameters(self) -> dict[str, str]:
        """The values of the template's parameters."""
        return {each["ParameterKey"]: each["ParameterValue"] for each in self.description.get("Parameters", [])}

    @cached_property
    def outputs(self) -> dict[str, str]:
        """The values of the template's outputs."""
        return {each["OutputKey"]: each["OutputValue"] for each in self.description.get("Outputs", [])}

    @cached_property
    def _resources(self) -> list[dict[str, Any]]:
        return list(self.every("cloudformation", "list_stack_resources", "StackResourceSummaries", StackName=self.name))

    def resources(self, kind: str) -> dict[str, str]:
        """Return the resources of that CloudFormation type: their physical IDs by their names in the template."""
        return {
            each["LogicalResourceId"]: each["PhysicalResourceId"]
            for each in self._resources
            if each["ResourceType"] == kind and each.get("PhysicalResourceId")
        }
