"""Checks every promise on the whole stack, and prints a line with the evidence for each."""

import time
from collections.abc import Callable, Sequence
from typing import Final

import requests
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from local.listening import listening
from local.promises import BrokenPromiseError, Promises
from local.stack import running_stack

# The exceptions with which a promise's own check can fail if an answer is not as expected.
_BROKEN: Final = (
    *(BrokenPromiseError, LookupError, TypeError, ValueError, AttributeError, EOFError),
    *(requests.RequestException, BotoCoreError, ClientError),
)


def main(*, is_verbose: bool = False) -> int:
    """Run the demo; return 0 only if every promise held."""
    console, began = Console(highlight=False, soft_wrap=True), time.monotonic()

    def progress(message: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:5.1f} s  {message}[/]")

    def tell(title: str, value: object) -> None:
        if is_verbose:
            console.print(f"[bold]{title}[/]", style="dim")
            console.print_json(data=value, default=str)

    console.print("[bold]Call Recording: the whole stack on this machine, and its promises[/]")
    with running_stack(progress) as stack, listening(stack, "demo") as published:
        progress("Checking each promise")
        broken = try_all(Promises(stack, published, tell).all(), console)
        progress("Stopping the stack")
    if broken:
        console.print(f"[bold red]Broken: {', '.join(broken)}.[/] To see every step: `make demo VERBOSE=1`.")
        return 1
    console.print(
        "[bold green]Every promise held.[/] Every step: `make demo VERBOSE=1`. To try it yourself: `make local`."
    )
    return 0


def try_all(promises: Sequence[tuple[str, Callable[[], str]]], console: Console) -> list[str]:
    """Check each promise and print the result; return the names of the broken ones."""
    broken = []
    for name, promise in promises:
        try:
            with console.status(f"{name} …"):
                evidence = promise()
        except _BROKEN as error:
            broken.append(name)
            said = str(error) if isinstance(error, BrokenPromiseError) else f"{type(error).__name__}: {error}"
            console.print(f"[bold red]✗[/] [bold]{name:<11}[/]", end="")
            console.print(said.partition("\n")[0][:300], markup=False)
        else:
            console.print(f"[bold green]✓[/] [bold]{name:<11}[/]", end="")
            console.print(evidence, markup=False)
    return broken
