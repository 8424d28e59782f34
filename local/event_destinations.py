"""Destinations of events that a function failed to process; MiniStack ignores those of an alias."""

from typing import Any


def copy_to_the_unpublished_version(client: Any, functions: list[str]) -> None:
    """Give each function the event configuration that the template gives its alias `live`."""
    for function in functions:
        for config in client.list_function_event_invoke_configs(FunctionName=function)["FunctionEventInvokeConfigs"]:
            names = ("MaximumEventAgeInSeconds", "MaximumRetryAttempts", "DestinationConfig")
            client.put_function_event_invoke_config(
                FunctionName=function, **{name: config[name] for name in names if name in config}
            )
