"""A temporary stack, which is deleted afterwards with everything that belongs only to it; nothing else is touched."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.exceptions import ClientError

from operations.doctor.deployed import Deployed
from operations.smoke.phone import Account

PROJECT: Final = Path(__file__).parent.parent.parent
PREFIX: Final = "call-recording-smoke-"
"""Prefix of every name here; nothing without it is ever removed."""

_SAM_STACK: Final = "aws-sam-cli-managed-default"

_GONE: Final = frozenset(
    {
        *("NoSuchBucket", "ResourceNotFoundException", "ResourceNotFound", "ValidationError"),
        *("404", "NoSuchEntity"),
    }
)


class ThrowAway:
    """A stack of that name, its secret and its bus."""

    def __init__(self, name: str, account: Account, session: boto3.Session) -> None:
        if not name.startswith(PREFIX) or name == PREFIX:
            raise ValueError(f"only stacks whose names start with {PREFIX} are created and removed here")
        self.name = name
        self._account = account
        self.session = session
        self._kept: dict[str, list[str]] = {}
        self.left_behind: list[str] = []

    def deployed(self) -> Deployed:
        """Return the stack for the doctor's checks."""
        return Deployed(self.name, self.session)

    def client(self, service: str) -> Any:
        """Return a client for that service in the stack's Region."""
        return self.session.client(service)  # type: ignore[call-overload]

    def refuse_if_there(self) -> None:
        """Raise FileExistsError if a stack of that name exists."""
        try:
            self.client("cloudformation").describe_stacks(StackName=self.name)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationError":
                return
            raise
        raise FileExistsError(f"the stack {self.name} already exists; it was not touched")

    def make(self) -> dict[str, str]:
        """Store the secret, create the bus, build and deploy; return the stack's outputs."""
        self.client("secretsmanager").create_secret(
            Name=f"{self.name}/{self._account.sid}", SecretString=json.dumps({"auth_token": self._account.auth_token})
        )
        self.client("events").create_event_bus(Name=self.name)
        self._sam("build")
        self._sam(
            *("deploy", "--config-env", "smoke", "--stack-name", self.name, "--s3-prefix", self.name, "--resolve-s3"),
            *("--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--disable-rollback"),
            "--parameter-overrides",
            *(f"TwilioAccountSid={self._account.sid}", f"TwilioSecretPrefix={self.name}/"),
            *(
                f"TwilioApiUrl={self._account.api_url}",
                f"EventBusName={self.name}",
                "LogRetentionDays=1",
                "AuditRetentionDays=30",
            ),
        )
        described = self.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"][0]
        return {each["OutputKey"]: each["OutputValue"] for each in described["Outputs"]}

    def remove(self) -> None:
        """Remove all of it, in order of dependency; what could not be removed is in `left_behind`."""
        self._try("what the stack would leave behind", self._note_what_is_kept)
        self._try(f"stack {self.name}", self._remove_stack)
        self._try(f"artifacts under {self.name}/", self._remove_artifacts)
        for bucket in self._kept.get("AWS::S3::Bucket", []):
            self._try(f"bucket {bucket}", lambda bucket=bucket: self._remove_bucket(bucket))  # type: ignore[misc]
        for table in self._kept.get("AWS::DynamoDB::Table", []):
            self._try(f"table {table}", lambda table=table: self._remove_table(table))  # type: ignore[misc]
        for group in self._kept.get("AWS::Logs::LogGroup", []):
            self._try(
                f"log group {group}",
                lambda group=group: self.client("logs").delete_log_group(logGroupName=group),  # type: ignore[misc]
            )
        secret = f"{self.name}/{self._account.sid}"
        self._try(
            f"secret {secret}",
            lambda: self.client("secretsmanager").delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True),
        )
        self._try(f"event bus {self.name}", lambda: self.client("events").delete_event_bus(Name=self.name))

    def _note_what_is_kept(self) -> None:
        """Note the resources of a type that can outlive the stack: afterwards nobody would know their names."""
        pages = self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=self.name)
        for each in (each for page in pages for each in page["StackResourceSummaries"]):
            if physical := each.get("PhysicalResourceId"):
                self._kept.setdefault(each["ResourceType"], []).append(physical)

    def _remove_stack(self) -> None:
        client = self.client("cloudformation")
        client.delete_stack(StackName=self.name)
        client.get_waiter("stack_delete_complete").wait(StackName=self.name)

    def _remove_artifacts(self) -> None:
        """Remove what SAM has uploaded for this stack; the bucket is SAM's, for all stacks of the Region."""
        managed = self.client("cloudformation").describe_stacks(StackName=_SAM_STACK)["Stacks"][0]["Outputs"]
        (bucket,) = [each["OutputValue"] for each in managed if each["OutputKey"] == "SourceBucket"]
        self._empty(bucket, prefix=f"{self.name}/")

    def _remove_bucket(self, bucket: str) -> None:
        self._empty(bucket)
        self.client("s3").delete_bucket(Bucket=bucket)

    def _empty(self, bucket: str, *, prefix: str = "") -> None:
        client = self.client("s3")
        pages = client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
        for page in pages:
            found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            objects = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in found]
            if objects:
                refused = client.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
                if refused.get("Errors"):
                    raise PermissionError(f"{refused['Errors'][0]['Code']} for {refused['Errors'][0]['Key']}")

    def _remove_table(self, table: str) -> None:
        client = self.client("dynamodb")
        client.delete_table(TableName=table)
        client.get_waiter("table_not_exists").wait(TableName=table)

    def _try(self, what: str, do: Callable[[], object]) -> None:
        """Do it; after a failure the rest is still removed."""
        try:
            do()
        except ClientError as error:
            if error.response["Error"]["Code"] not in _GONE:
                self.left_behind.append(f"{what}: {error}")
        except Exception as error:  # noqa: BLE001 (what stays is named, and everything else still goes)
            self.left_behind.append(f"{what}: {error}")

    def _sam(self, *arguments: str) -> None:
        subprocess.run(  # noqa: S603 (SAM, with values of this program)
            ["sam", *arguments, *(["--region", self.session.region_name] if arguments[0] == "deploy" else [])],  # noqa: S607
            cwd=PROJECT,
            check=True,
        )
