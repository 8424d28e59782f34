"""The least that can write to DynamoDB: boto3 and one client."""

import boto3

dynamodb = boto3.client("dynamodb")
