"""The tables of docs/ are what the template, the schemas and the code make: `make reference` writes them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator  # type: ignore[import-untyped]

from call_recording import errors
from call_recording.errors import CallRecordingError, may_have_acted
from call_recording.problems import _ANSWERS
from call_recording.recordings.row import ATTRIBUTES
from generators import of_code, of_template
from generators.markdown import table, with_code
from generators.sample_events import sample_events
from generators.tables import TABLES, made, pages
from generators.template import parsed, translated
from local.stack import PROJECT

REFERENCE = PROJECT / "docs/reference"
KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CallRecordingError)]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(PROJECT)))
def test_a_page_has_its_tables_as_they_are_made_now(page: Path) -> None:
    assert page.read_text() == made(page.read_text()), "run `make reference`"


def test_every_table_is_in_a_page() -> None:
    placed = [
        name for page in pages() for name in re.findall(r"^<!-- table: (.+) -->$", page.read_text(), re.MULTILINE)
    ]

    assert sorted(placed) == sorted(TABLES)


def test_a_table_that_nobody_makes_is_not_passed_over() -> None:
    with pytest.raises(KeyError, match="paramters"):
        made("<!-- table: paramters -->\n<!-- end -->\n")


def test_what_is_written_by_hand_stays() -> None:
    page = made("# Before\n\n<!-- table: outputs -->\n\nold\n\n<!-- end -->\n\nAfter\n")

    assert page.startswith("# Before\n\n<!-- table: outputs -->\n\n| output |")
    assert page.endswith("|\n\n<!-- end -->\n\nAfter\n")
    assert "old" not in page
    assert made(page) == page


# --- of the template --------------------------------------------------------------------------------------


def first_cells(text: str) -> list[str]:
    return [line.split("|")[1].strip() for line in text.splitlines() if re.match(r"\| [^|]", line)]


def test_every_parameter_and_output_has_a_row_with_what_the_template_says() -> None:
    template = parsed()
    of_parameters, of_outputs = of_template.parameters(), of_template.outputs()

    named = [cell.strip("`") for cell in first_cells(of_parameters) if cell != "parameter"]
    assert sorted(named) == sorted(template["Parameters"])
    assert [cell.strip("`") for cell in first_cells(of_outputs)[1:]] == list(template["Outputs"])
    for told in template["Parameters"].values():
        assert told["Description"] in of_parameters.replace("`", "").replace("\\|", "|")


def test_a_parameter_that_no_group_has_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    template = parsed()
    template["Parameters"]["New"] = {
        "Type": "Number",
        "Default": 0,
        "MinValue": 1,
        "MaxValue": 9,
        "Description": "A | b.",
    }
    monkeypatch.setattr(of_template, "parsed", lambda: template)

    assert "## Others\n\n| parameter | default | values | meaning |\n|---|---|---|---|\n" in of_template.parameters()
    assert "| `New` | `0` | 1 to 9 | A \\| b. |\n" in of_template.parameters()


def actions(value: Any) -> Iterator[str]:
    """Give every action that is granted anywhere in a policy, whatever has to hold for it."""
    if isinstance(value, dict):
        found = value.get("Action", [])
        yield from [found] if isinstance(found, str) else found
        for key, inner in value.items():
            if key != "AssumeRolePolicyDocument":
                yield from actions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from actions(inner)


def test_every_action_that_a_role_grants_has_its_row() -> None:
    rows = of_template.permissions().split("\n| `")
    told = {row.partition("`")[0]: set(re.findall(r"`(\w+:\w+)`", row)) for row in rows}

    policies = {name: it for name, it in translated().items() if it["Type"].startswith("AWS::IAM::")}
    assert len(policies) > 8
    for name, policy in policies.items():
        if policy["Type"] != "AWS::IAM::Policy":
            of = told.get(name.removesuffix("Role")) or told[name]
            assert set(actions(policy)) <= of, name
    assert set(actions(list(policies.values()))) <= set.union(*told.values())


ARN = "arn:${AWS::Partition}:kms:${AWS::Region}:${AWS::AccountId}"


def test_a_grant_shows_its_resource_and_what_has_to_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    statement = {
        "Effect": "Allow",
        "Action": "kms:Decrypt",
        "Resource": {"Fn::If": ["HasOne", {"Ref": "KeyArn"}, {"Fn::Sub": f"{ARN}:key/*"}]},
        "Condition": {"StringEquals": {"kms:ViaService": ["s3", "sqs"]}},
    }
    denied = {"Effect": "Deny", "Action": ["kms:*"], "Resource": "*"}
    policy = {"PolicyDocument": {"Statement": [{"Fn::If": ["HasKey", statement, denied]}]}}
    managed = [{"Fn::If": ["HasTracing", "arn:aws:iam::aws:policy/AWSXrayWriteOnlyAccess", {"Ref": "AWS::NoValue"}]}]
    managed.append({"Fn::If": ["IsBare", {"Ref": "AWS::NoValue"}, {"Ref": "KeyPolicy"}]})
    role = {"Type": "AWS::IAM::Role", "Properties": {"Policies": [policy], "ManagedPolicyArns": managed}}
    monkeypatch.setattr(of_template, "translated", lambda: {"FnRole": role, "Fn": {"Type": "AWS::Lambda::Function"}})

    assert of_template.permissions().splitlines()[2:] == [
        (
            "| `Fn` | `kms:Decrypt` | `KeyArn` (`HasOne` holds), `kms:key/*` (`HasOne` does not hold) "
            "| `HasKey` holds; `kms:ViaService` is `s3`, `sqs` |"
        ),
        "| | **not** `kms:*` | `*` | `HasKey` does not hold |",
        "| | what `AWSXrayWriteOnlyAccess` allows | | `HasTracing` holds |",
        "| | what `KeyPolicy` allows | | `IsBare` does not hold |",
    ]


# --- of the code --------------------------------------------------------------------------------------------


def test_every_error_has_one_row() -> None:
    names = [
        name
        for text in (of_code.errors(), of_code.errors_in_events())
        for name in re.findall(r"\| `([\w-]+)`<br>", text)
    ]

    assert sorted(names) == sorted(name for kind, (_, name, _) in _ANSWERS.items() if kind is not CallRecordingError)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_whether_twilio_acted_is_said_as_the_code_takes_it(kind: type[CallRecordingError]) -> None:
    assert kind.acted.split(",")[0].split(";")[0] in {"no", "perhaps", "yes"}
    if may_have_acted(kind.__new__(kind)):
        assert kind.acted == "perhaps"
    if issubclass(kind, errors.TwilioRefusedError):
        assert kind.acted == "no"


def test_a_row_s_attributes_have_the_types_that_are_told() -> None:
    images = [
        image
        for record in sample_events()["stream-completed.json"]["Records"]
        for name, image in record["dynamodb"].items()
        if name.endswith("Image")
    ]

    found = {(name, kind) for image in images for name, value in image.items() for kind in value}
    assert len(found) > 15
    assert found <= {(name, attribute.kind) for name, attribute in ATTRIBUTES.items()}


def test_every_attribute_has_one_row() -> None:
    shown, within = first_cells(of_code.row()), first_cells(of_code.row_within())

    assert sorted(cell.strip("`") for cell in shown[1:] + within[1:]) == sorted(ATTRIBUTES)
    assert {cell.strip("`") for cell in shown[1:]} == {name for name, it in ATTRIBUTES.items() if it.is_public}


@pytest.mark.parametrize("name", of_code.event_names())
def test_every_field_of_an_event_is_in_its_table(name: str) -> None:
    schema = json.loads((of_code.SCHEMAS / f"{name}.json").read_text())
    text = of_code.event_table(name)()

    assert set(schema["properties"]["detail"]["properties"]) <= set(re.findall(r"`(\w+)`", text))


def test_the_examples_of_events_are_as_their_schemas_say() -> None:
    sections = re.split(r"^## ", (REFERENCE / "events.md").read_text(), flags=re.MULTILINE)
    shown = 0
    for section in sections:
        examples = re.findall(r"^```json\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
        for example in examples:
            (name,) = re.findall(r"^<!-- table: event (\w+) -->$", section, re.MULTILINE)
            schema = json.loads((of_code.SCHEMAS / f"{name}.json").read_text())
            Draft4Validator(schema["properties"]["detail"]).validate(json.loads(example))
            shown += 1

    assert shown >= 5


# --- Markdown ------------------------------------------------------------------------------------------------


def test_a_cell_is_one_line_and_keeps_its_bars() -> None:
    assert table(("a", "b"), [("x\ny", ""), ("`p|q`", "z")]) == "| a | b |\n|---|---|\n| x y | |\n| `p\\|q` | z |\n"


def test_names_and_addresses_become_code_once() -> None:
    known = {"RecordingsTable", "call_sid"}

    assert with_code("In RecordingsTable, call_sid: see https://a.example/x.", known) == (
        "In `RecordingsTable`, `call_sid`: see `https://a.example/x`."
    )
    assert with_code("`RecordingsTable` and MyRecordingsTable, https://*.a.example", known) == (
        "`RecordingsTable` and MyRecordingsTable, `https://*.a.example`"
    )
