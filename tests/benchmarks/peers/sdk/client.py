"""The least that reads a secret and writes to DynamoDB with Powertools' logger, metrics and parameters."""

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.parameters import SecretsProvider

logger = Logger(service="recording-status")
metrics = Metrics(service="recording-status")
dynamodb = boto3.client("dynamodb")
secrets = SecretsProvider(boto3_client=boto3.client("secretsmanager"))
