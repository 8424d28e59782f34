"""What ships the application fits the template, the Makefile and pyproject.toml."""

import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from samcli.commands.build.command import cli as sam_build
from samcli.commands.deploy.command import cli as sam_deploy

from local.stack import PROJECT

SAM = {"build": sam_build, "deploy": sam_deploy}
WORKFLOWS = PROJECT / ".github" / "workflows"
WORKFLOW_NAMES = ["audit.yml", "deploy.yml", "release.yml", "test.yml"]
PINNED = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40}")


def load_toml(name: str) -> dict[str, Any]:
    return tomllib.loads((PROJECT / name).read_text())


def load_yaml(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((PROJECT / name).read_text())
    return loaded


def load_workflow(name: str) -> dict[str, Any]:
    """Return a workflow; YAML 1.1 reads its `on` as true."""
    loaded = load_yaml(f".github/workflows/{name}")
    return {"on": loaded.pop(True)} | loaded  # type: ignore[call-overload]


def commands(workflow: dict[str, Any]) -> list[str]:
    return [step["run"] for step in steps(workflow) if "run" in step]


def steps(workflow: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for job in workflow["jobs"].values():
        yield from job.get("steps", [])


def environments() -> dict[str, Any]:
    """Return what samconfig.toml says for each environment that can be deployed."""
    return {name: commands for name, commands in load_toml("samconfig.toml").items() if name in {"dev", "prod"}}


def refusal(parameter: dict[str, Any], value: str) -> str | None:
    """Return why CloudFormation would refuse a parameter's value, or None."""
    if "AllowedValues" in parameter and value not in map(str, parameter["AllowedValues"]):
        return "not an allowed value"
    if not re.fullmatch(parameter.get("AllowedPattern", ".*"), value):
        return "not of the allowed pattern"
    if parameter["Type"] == "Number":
        if not re.fullmatch(r"-?\d+", value):
            return "not a number"
        if not parameter.get("MinValue", int(value)) <= int(value) <= parameter.get("MaxValue", int(value)):
            return "out of bounds"
    return None


@pytest.fixture(scope="session")
def verbs() -> set[str]:
    return set(re.findall(r"^\.PHONY: ([a-z-]+)$", (PROJECT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_what_an_environment_sets_is_what_the_template_allows(template: dict[str, Any], environment: str) -> None:
    overrides = environments()[environment]["deploy"]["parameters"]["parameter_overrides"]

    values = dict(override.split("=", 1) for override in overrides)

    assert len(values) == len(overrides)
    assert values.keys() <= template["Parameters"].keys()
    assert {name: refusal(template["Parameters"][name], value) for name, value in values.items()} == dict.fromkeys(
        values
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LogRetentionDays", "8"),
        ("RowRetentionDays", "1"),
        ("RowRetentionDays", "36501"),
        ("RowRetentionDays", "many"),
        ("TwilioAccountSid", "AC..."),
        ("TwilioAccountSid", ""),
    ],
)
def test_what_the_template_does_not_allow_would_be_noticed(template: dict[str, Any], name: str, value: str) -> None:
    assert refusal(template["Parameters"][name], value)


def test_the_account_is_for_whoever_deploys_to_name(template: dict[str, Any]) -> None:
    assert "Default" not in template["Parameters"]["TwilioAccountSid"]
    for settings in environments().values():
        assert not [o for o in settings["deploy"]["parameters"]["parameter_overrides"] if "TwilioAccountSid" in o]


def test_sam_knows_every_setting_and_would_otherwise_be_silent() -> None:
    for name, environment in load_toml("samconfig.toml").items():
        if name != "version":
            for command, settings in environment.items():
                assert settings.keys() == {"parameters"}
                assert settings["parameters"].keys() <= {option.name for option in SAM[command].params}


def test_the_local_stack_deploys_without_settings_of_an_environment() -> None:
    assert load_toml("samconfig.toml")["default"] == {"build": {"parameters": {"cached": True, "parallel": True}}}


def test_only_prod_asks_before_it_changes_anything_and_both_roll_back() -> None:
    asked = {name: settings["deploy"]["parameters"] for name, settings in environments().items()}

    assert {name: parameters["confirm_changeset"] for name, parameters in asked.items()} == {"dev": False, "prod": True}
    assert all(parameters["disable_rollback"] is False for parameters in asked.values())
    assert all(parameters["capabilities"] == "CAPABILITY_IAM" for parameters in asked.values())
    assert len({parameters["stack_name"] for parameters in asked.values()}) == len(asked)


def test_every_workflow_is_tested_here() -> None:
    assert {path.name for path in WORKFLOWS.iterdir()} == set(WORKFLOW_NAMES)


@pytest.mark.parametrize("name", WORKFLOW_NAMES)
def test_a_workflow_calls_only_verbs_that_exist(name: str, verbs: set[str]) -> None:
    called = [verb for command in commands(load_workflow(name)) for verb in re.findall(r"\bmake ([\w-]+)", command)]

    assert called
    assert set(called) <= verbs


@pytest.mark.parametrize("name", WORKFLOW_NAMES)
def test_a_workflow_may_only_read_is_limited_in_time_and_pins_what_it_uses(name: str) -> None:
    workflow = load_workflow(name)

    assert workflow["permissions"] == {"contents": "read"}
    assert all("timeout-minutes" in job for job in workflow["jobs"].values() if "steps" in job)
    assert all(PINNED.fullmatch(step["uses"]) for step in steps(workflow) if "uses" in step)


@pytest.mark.parametrize("name", WORKFLOW_NAMES)
def test_a_workflow_runs_the_python_of_the_project(name: str) -> None:
    versions = [step["with"]["python-version"] for step in steps(load_workflow(name)) if "setup-python" in str(step)]

    assert versions == [(PROJECT / ".python-version").read_text().strip()]


def test_what_the_readme_tells_to_run_is_run_for_each_push_and_pull_request() -> None:
    workflow = load_workflow("test.yml")

    assert workflow["on"].keys() >= {"push", "pull_request", "workflow_call"}
    assert commands(workflow) == ["make demo", "make test", "make operations"]


def test_known_vulnerabilities_are_looked_up_for_each_pull_request_and_every_week() -> None:
    workflow = load_workflow("audit.yml")

    assert workflow["on"].keys() >= {"pull_request", "schedule"}
    assert commands(workflow) == ["make audit"]


def test_only_what_passed_the_tests_is_deployed_and_without_long_lived_keys() -> None:
    workflow = load_workflow("deploy.yml")
    job = workflow["jobs"]["deploy"]

    assert workflow["jobs"]["test"] == {"uses": "./.github/workflows/test.yml"}
    assert job["needs"] == "test"
    assert job["permissions"] == {"contents": "read", "id-token": "write"}
    assert "secrets." not in (WORKFLOWS / "deploy.yml").read_text()


def test_the_environments_to_deploy_to_are_those_of_samconfig() -> None:
    workflow = load_workflow("deploy.yml")
    job = workflow["jobs"]["deploy"]

    assert set(workflow["on"]["workflow_dispatch"]["inputs"]["environment"]["options"]) == environments().keys()
    assert job["environment"] == job["env"]["CONFIG_ENV"] == "${{ inputs.environment || 'prod' }}"


def test_nobody_sits_at_the_keyboard_of_a_workflow() -> None:
    (deploy,) = [command for command in commands(load_workflow("deploy.yml")) if command.startswith("sam deploy")]

    options = {option for parameter in sam_deploy.params for option in (*parameter.opts, *parameter.secondary_opts)}

    assert deploy == 'sam deploy --config-env "$CONFIG_ENV" --no-confirm-changeset'
    assert set(re.findall(r"--[\w-]+", deploy)) <= options


def test_a_commit_is_checked_by_verbs_that_exist(verbs: set[str]) -> None:
    (repository,) = load_yaml(".pre-commit-config.yaml")["repos"]

    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        tool, verb = hook["entry"].split()
        assert tool == "make"
        assert verb in verbs
        assert hook["pass_filenames"] is False
        assert any(re.search(hook["files"], name) for name in ("local/stack.py", "template.yaml"))


def test_dependabot_looks_where_something_is() -> None:
    updates = {update["package-ecosystem"]: update for update in load_yaml(".github/dependabot.yml")["updates"]}

    assert updates.keys() == {"pip", "github-actions"}
    for update in updates.values():
        assert PROJECT.joinpath(update["directory"].lstrip("/")).is_dir()
    assert PROJECT.joinpath(updates["pip"]["directory"].lstrip("/"), "pyproject.toml").is_file()


def test_what_is_published_is_what_pyproject_says(template: dict[str, Any]) -> None:
    published, project = (
        template["Metadata"]["AWS::ServerlessRepo::Application"],
        load_toml("pyproject.toml")["project"],
    )

    assert published["SemanticVersion"] == project["version"]
    assert published["Name"] == project["name"]
    assert published["Description"] == project["description"]
    assert published["SpdxLicenseId"] == project["license"]
    assert (PROJECT / published["LicenseUrl"]).is_file()
    assert (PROJECT / published["ReadmeUrl"]).is_file()


def test_what_is_published_is_what_the_repository_takes(template: dict[str, Any]) -> None:
    published = template["Metadata"]["AWS::ServerlessRepo::Application"]

    assert re.fullmatch(r"[a-zA-Z0-9-]{1,140}", published["Name"])
    assert re.fullmatch(r"[a-z0-9](([a-z0-9]|-(?!-))*[a-z0-9])?", published["Author"])
    assert len(published["Description"]) <= 256
    assert len(published["Labels"]) <= 10
    assert all(re.fullmatch(r"[a-zA-Z0-9+\-_:/@]+", label) for label in published["Labels"])
