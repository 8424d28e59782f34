"""The update expressions for facts: what they set, and under which conditions."""

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from call_recording.recordings.facts import Facts
from call_recording.recordings.merge import derived_from_start
from call_recording.recordings.row import serialize
from call_recording.recordings.statuses import LOWEST_KNOWN_RANK, is_open, lower_than, rank

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef


class Update(NamedTuple):
    """The parameters of a conditional update in DynamoDB."""

    expression: str
    condition: str
    names: Mapping[str, str]
    values: Mapping[str, "AttributeValueTypeDef"]


class Expression:
    """A builder of an update expression; every name and value gets one placeholder."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.values: dict[str, AttributeValueTypeDef] = {}
        self._name_of: dict[str, str] = {}
        self._set: list[str] = []
        self._remove: list[str] = []

    def name(self, *path: str) -> str:
        """Return the placeholder of an attribute, or the path of placeholders into a map."""
        return ".".join(map(self._placeholder, path))

    def value(self, value: Any) -> str:
        """Return the placeholder of a value."""
        placeholder = f":v{len(self.values)}"
        self.values[placeholder] = serialize(value)
        return placeholder

    def put(self, name: str, value: str) -> None:
        """Set an attribute (as `name` returned it) to a value (a placeholder, or a function of some)."""
        self._set.append(f"{name} = {value}")

    def drop(self, name: str) -> None:
        """Remove an attribute (as `name` returned it)."""
        self._remove.append(name)

    def on(self, *conditions: str) -> Update:
        """Return the update, with all these conditions."""
        parts = (("SET", self._set), ("REMOVE", self._remove))
        expression = " ".join(f"{verb} {', '.join(actions)}" for verb, actions in parts if actions)
        return Update(expression, " AND ".join(conditions), self.names, self.values)

    def _placeholder(self, attribute: str) -> str:
        if known := self._name_of.get(attribute):
            return known
        placeholder = self._name_of[attribute] = f"#n{len(self._name_of)}"
        self.names[placeholder] = attribute
        return placeholder


def advance(facts: Facts, *, retention_days: int) -> Update:
    """Return the update that writes facts without reading, if `merge` would overwrite everything they set."""
    told = dict(facts.told)
    if "start_time" in told:
        sids = facts.recording_sid, facts.account_sid
        told |= derived_from_start(*sids, told["start_time"], retention_days=retention_days)
    form = _form(facts.status, tuple(facts.told), tuple(told))
    values = {**form.values, **{f":{name}": serialize(value) for name, value in told.items()}}
    values[":account_sid"], values[":seen_at"] = {"S": facts.account_sid}, {"S": facts.seen_at}
    if "start_time" not in told:
        values[":start_time"] = {"S": facts.began_by}
    return form._replace(values=values)


@lru_cache(maxsize=64)
def _form(status: str, told: tuple[str, ...], all_told: tuple[str, ...]) -> Update:
    """Return the update for reports with the same attributes, without the values of a single report.

    `told` are the attributes in the report, `all_told` those and derived ones.
    """
    update = Expression()
    held, seen = update.name("status"), update.name("status_at", status)
    reported = update.value(status)
    update.put(held, reported)
    update.put(seen, f"if_not_exists({seen}, :seen_at)")
    ranks = [update.name("fact_ranks", name) for name in told]
    if ranks and rank(status) != LOWEST_KNOWN_RANK:
        reported_rank = update.value(rank(status))
        for name in ranks:
            update.put(name, reported_rank)
    else:
        for name in ranks:
            update.drop(name)
    for name in all_told:
        update.put(update.name(name), f":{name}")
    if not is_open(status):
        update.drop(update.name("open_shard"))

    same = [f"{held} = {reported}"]
    same += [f"(attribute_not_exists({update.name(name)}) OR {update.name(name)} = :{name})" for name in all_told]
    overrides = " AND ".join(same)
    if lower := lower_than(status):
        overrides = f"({held} IN ({', '.join(map(update.value, lower))}) OR ({overrides}))"
    conditions = [
        # Rows that something else wrote may lack the maps that this updates.
        f"attribute_exists({update.name('status_at')})",
        f"attribute_exists({update.name('fact_ranks')})",
        f"{update.name('account_sid')} = :account_sid",
        overrides,
        f"(attribute_not_exists({seen}) OR {seen} <= :seen_at)",
    ]
    if "call_sid" in told:  # otherwise the key of an index could change
        requested, call_sid = update.name("requested_call_sid"), update.name("call_sid")
        conditions.append(f"(attribute_not_exists({requested}) OR {call_sid} = :call_sid)")
    if "start_time" not in all_told:
        conditions.append(f"{update.name('start_time')} <= :start_time")
    return update.on(*conditions)
