"""ControlApi's gateway responses, which MiniStack does not read from the API's definition."""

from typing import Any

from samcli.yamlhelper import yaml_parse


def put_gateway_responses(client: Any, template: str, *, control_api_id: str) -> None:
    """Put what the template says that API Gateway answers by itself, as SAM's definition does in AWS."""
    api = yaml_parse(template)["Resources"]["ControlApi"]["Properties"]
    for response_type, response in api["GatewayResponses"].items():
        headers = response["ResponseParameters"]["Headers"]
        client.put_gateway_response(
            restApiId=control_api_id,
            responseType=response_type,
            statusCode=str(response["StatusCode"]),
            responseTemplates=response["ResponseTemplates"],
            responseParameters={f"gatewayresponse.header.{name}": value for name, value in headers.items()},
        )
    client.create_deployment(restApiId=control_api_id, stageName=api["StageName"])
