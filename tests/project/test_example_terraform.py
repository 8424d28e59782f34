"""examples/terraform/ passes parameters that the template has, in the types that they have there, and nothing unset."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from generators.sample_events import ACCOUNT_SID
from local.stack import PROJECT
from tests.cloudformation import EXAMPLES

FOLDER: Final = EXAMPLES / "terraform"
TERRAFORM: Final = shutil.which("terraform") or ""
OWN: Final = {"stack_name", "artifacts_bucket", "packaged_template", "other_parameters"}
"""Variables that are no parameter of the template."""

# checkov brings what reads Terraform's language, in the environment of the tools that only check.
READ: Final = "import hcl2, json, sys; print(json.dumps([hcl2.load(open(path)) for path in sys.argv[1:]]))"


@pytest.fixture(scope="module")
def terraform() -> dict[str, dict[str, Any]]:
    """What the files declare: `variable`, `output`, `resource` and `locals`, by name."""
    done = subprocess.run(  # noqa: S603 (the project's own tools)
        [PROJECT / ".venv/audit/bin/python", "-c", READ, *sorted(FOLDER.glob("*.tf"))],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, dict[str, Any]] = {}
    for file in json.loads(done.stdout):
        for kind, blocks in file.items():
            for block in blocks:
                found.setdefault(kind, {}).update(unwrapped(block))
    return found


def unwrapped(value: Any) -> Any:
    """Return a block without the list that the parser makes of each attribute."""
    if not isinstance(value, dict):
        return value
    one = {name: inner[0] if isinstance(inner, list) and len(inner) == 1 else inner for name, inner in value.items()}
    return {name: unwrapped(inner) for name, inner in one.items() if not name.startswith("__")}


def passed(terraform: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return the variable that each parameter of the template is set from."""
    return {name: re.findall(r"var\.(\w+)", value)[0] for name, value in terraform["locals"]["typed"].items()}


def unquoted(text: Any) -> Any:
    """Return an expression without the marks that the parser puts around it."""
    return re.sub(r"^\$\{(.*)\}$", r"\1", text) if isinstance(text, str) else text


def kind_of(parameter: dict[str, Any]) -> str:
    if parameter.get("AllowedValues") == ["true", "false"]:
        return "bool"
    return {"Number": "number", "CommaDelimitedList": "list(string)"}.get(parameter["Type"], "string")


def test_each_parameter_that_is_passed_is_the_template_s_and_of_its_type(
    terraform: dict[str, dict[str, Any]], template: dict[str, Any]
) -> None:
    variables = terraform["variable"]

    for parameter, variable in passed(terraform).items():
        assert parameter in template["Parameters"]
        assert variable == re.sub(r"(?<!^)(?=[A-Z])", "_", parameter).lower()
        assert unquoted(variables[variable]["type"]) == kind_of(template["Parameters"][parameter]), variable
        assert variables[variable]["description"] == f"Parameter {parameter}."
    assert variables.keys() == OWN | set(passed(terraform).values())


def test_what_is_not_set_has_the_template_s_own_default(
    terraform: dict[str, dict[str, Any]], template: dict[str, Any]
) -> None:
    required = {name for name, parameter in template["Parameters"].items() if "Default" not in parameter}

    for parameter, variable in passed(terraform).items():
        declared = terraform["variable"][variable]
        assert ("default" in declared) is (parameter not in required), variable
        assert declared.get("default") is None, "otherwise there are two defaults"
    assert required <= passed(terraform).keys()


def test_a_wrong_account_is_refused_as_the_template_refuses_it(
    terraform: dict[str, dict[str, Any]], template: dict[str, Any]
) -> None:
    validation = terraform["variable"]["twilio_account_sid"]["validation"]

    assert template["Parameters"]["TwilioAccountSid"]["AllowedPattern"] in validation["condition"]


def test_each_output_is_the_template_s(terraform: dict[str, dict[str, Any]], template: dict[str, Any]) -> None:
    for name, output in terraform["output"].items():
        (read,) = re.findall(r'outputs\["(\w+)"\]', output["value"])
        assert read in template["Outputs"]
        assert name == re.sub(r"(?<!^)(?=[A-Z])", "_", read).lower()


def test_the_stack_may_make_roles_and_be_expanded_by_sam(terraform: dict[str, dict[str, Any]]) -> None:
    stack = terraform["resource"]["aws_cloudformation_stack"]["call_recording"]

    assert stack["capabilities"] == ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
    assert unquoted(stack["parameters"]) == "local.parameters"
    assert "template_body" not in stack, "the template is too large for it"


# --- as Terraform itself works it out, where there is one --------------------------------------------------

with_terraform = pytest.mark.skipif(not TERRAFORM, reason="there is no terraform here")
LEAST: Final = {
    "twilio_account_sid": ACCOUNT_SID,
    "artifacts_bucket": "artifacts",
    "packaged_template": "packaged.yaml",
}


def run_terraform(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    return subprocess.run(  # noqa: S603 (found above)
        [TERRAFORM, *arguments],
        cwd=folder,
        env=own | {"CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the parameters are worked out from, without the resources: those need the provider for AWS."""
    folder = tmp_path_factory.mktemp("terraform")
    for name in ("variables.tf", "parameters.tf"):
        shutil.copy(FOLDER / name, folder)
    (folder / "told.tf").write_text('output "told" {\n  value = local.parameters\n}\n')
    done = run_terraform(folder, "init", "-input=false")
    assert done.returncode == 0, done.stderr
    return folder


@with_terraform
@pytest.mark.parametrize(
    ("given", "parameters"),
    [
        ({}, {}),
        (
            {"archive_recordings": False, "row_retention_days": 31},
            {"ArchiveRecordings": "false", "RowRetentionDays": "31"},
        ),
        (
            {"control_api_allowed_cidrs": "192.0.2.0/24,2001:db8::/32"},
            {"ControlApiAllowedCidrs": "192.0.2.0/24,2001:db8::/32"},
        ),
        ({"other_parameters": {"SnapStart": "PublishedVersions"}}, {"SnapStart": "PublishedVersions"}),
        ({"kms_key_arn": "arn:aws:kms:x", "other_parameters": {"KmsKeyArn": "y"}}, {"KmsKeyArn": "arn:aws:kms:x"}),
    ],
)
def test_terraform_passes_what_is_set_as_cloudformation_writes_it(
    workshop: Path, given: dict[str, Any], parameters: dict[str, str]
) -> None:
    (workshop / "given.tfvars.json").write_text(json.dumps(LEAST | given))

    done = run_terraform(workshop, "apply", "-auto-approve", "-var-file=given.tfvars.json")

    assert done.returncode == 0, done.stderr
    told = json.loads(run_terraform(workshop, "output", "-json", "told").stdout)
    assert told == {"TwilioAccountSid": ACCOUNT_SID} | parameters


@with_terraform
def test_terraform_refuses_what_is_no_account(workshop: Path) -> None:
    (workshop / "given.tfvars.json").write_text(json.dumps(LEAST | {"twilio_account_sid": "ACnotasid"}))

    done = run_terraform(workshop, "plan", "-var-file=given.tfvars.json")

    assert done.returncode == 1
    assert "Must be a Twilio Account SID" in done.stderr


@with_terraform
def test_the_files_are_written_as_terraform_formats_them() -> None:
    done = run_terraform(FOLDER, "fmt", "-check", "-diff", ".")

    assert done.stdout == ""
