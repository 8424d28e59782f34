"""Which calls are paused as a whole, what that covers, and what was paused for it: items of IdempotencyTable.

There is an item for each call and conference that such a pause covers, `pause#{account}#{SID}`. It names the calls
that the pause was asked for on (`asked_on`); the item of that call has all the rest. One more, `pause#{account}`, says
that the account may have any, and which conferences they cover.

Where it is not there, nobody needs to look at anything else, and for `UNTOLD` nobody needs to look again: whoever
pauses something in an account for the first time waits for so long before they say that all is quiet.
"""

import uuid
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from botocore.exceptions import BotoCoreError, ClientError

from call_recording import clients, clock
from call_recording import sids as sids_of
from call_recording.errors import PauseEndedError, StateUnavailableError
from call_recording.recordings.row import Row, items_of, plain, serialize

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from call_recording.settings import MemorySettings

KEPT_FOR: Final = timedelta(hours=24)
"""How long an item is kept after its pause was asked for, or after the time of that is over: a call lives no longer."""

RUNNING: Final = "in-progress"
PAUSED: Final = "paused"
"""How a recording was before everything was paused. What was paused already is somebody else's."""

MOST_CONFERENCES: Final = 50
"""Conferences that an account's item names, the latest: a call that joins one is found by asking Twilio for each."""

UNTOLD: Final = timedelta(seconds=2)
"""How long somebody who saw that nothing is paused in an account may go by that."""

_MOST_PAST: Final = 10
"""Pauses of a call that have ended and are remembered, the latest."""

_ATTEMPTS: Final = 5
_SETTLED_AFTER: Final = timedelta(seconds=60)
"""When nobody works on a pause any more that was never proven: a function lives 28 s, and clocks differ."""


class Span(NamedTuple):
    """From when to when a call was paused. All times are ISO 8601, UTC, with milliseconds; empty if it was not yet.

    `timer` watches over it, if anything does, until `due_at`. `found` are the recordings that it met before it was
    proven, so that they surely began before.
    """

    name: str
    asked_at: str
    proven_at: str = ""
    ended_at: str = ""
    timer: str = ""
    due_at: str = ""
    found: frozenset[str] = frozenset()


class Pause(NamedTuple):
    """The last pause that was asked for on a call, and the `past` ones of it.

    `covered` are the calls and conferences that it covers. `recordings` are those that it met: how each `was`, whose it
    is (`call` or `conference`), and whether it is `late`: turned up after the pause was proven.
    """

    account_sid: str
    call_sid: str
    span: Span
    covered: frozenset[str]
    recordings: Mapping[str, Mapping[str, Any]]
    past: tuple[Span, ...]
    behavior: str = ""
    """Twilio's PauseBehavior, if the request chose one."""

    untold_until: float = 0.0
    """Until when, by `clock.monotonic`, somebody may still begin to record who has not seen that anything is paused."""

    overdue: str = ""
    """The timer that found nobody had resumed in time."""

    @property
    def name(self) -> str:
        """What callers see as `group`."""
        return self.span.name

    @property
    def is_active(self) -> bool:
        """Whether it was not resumed yet."""
        return not self.span.ended_at

    @property
    def is_settled(self) -> bool:
        """Whether it is proven, or nobody works on it any more: what turns up from now on is late."""
        given_up = datetime.fromisoformat(self.span.asked_at) + _SETTLED_AFTER
        return bool(self.span.proven_at) or clock.now() > given_up

    def covering(self, sids: Collection[str]) -> Self:
        """Return the same, which covers these as well."""
        return self._replace(covered=self.covered.union(sids))

    @property
    def form(self) -> list[tuple[str, str]]:
        """The body parameters by which Twilio pauses a recording for it."""
        form = {"Status": PAUSED, "PauseBehavior": self.behavior}
        return [(name, value) for name, value in form.items() if value]

    @property
    def by(self) -> str:
        """Who changed a recording, in its row's `control`."""
        return self.name[-16:]


class Pauses:
    """The pauses of everything that this stack knows of. Every method raises StateUnavailableError."""

    def __init__(self, client: "DynamoDBClient", table_name: str) -> None:
        self.client = client
        self.table_name = table_name
        self._seen_without: dict[str, tuple[float, datetime]] = {}
        """When an account was last seen to have none: by the clock that only grows, and by the one that is set."""

    @classmethod
    def connect(cls, settings: "MemorySettings") -> Self:
        """Return those of the stack that the settings describe."""
        return cls(clients.dynamodb(), settings.idempotency_table)

    # --- looking -------------------------------------------------------------------------------

    def of(self, account_sid: str, call_sid: str) -> Pause | None:
        """Return what was asked for on that very call, if anything was."""
        key = _id(account_sid, call_sid)
        item = self._some([key]).get(key, {})
        return _pause(account_sid, call_sid, item) if "pause" in item else None

    def active_on(self, account_sid: str, call_sid: str) -> Pause | None:
        """Return a pause that covers the call and was not resumed yet, if there is one.

        No read within `UNTOLD` of one that found that the account has none; else one, and another one for a pause that
        was asked for on another call.
        """
        seen, now = self._seen_without.get(account_sid), (clock.monotonic(), clock.now())
        # By both: a machine that is frozen may stop the one, and somebody may set the other.
        if seen and now[0] - seen[0] < UNTOLD.total_seconds() and timedelta() <= now[1] - seen[1] < UNTOLD:
            return None
        held = self._read([_id(account_sid), _id(account_sid, call_sid)])
        if _id(account_sid) not in held:
            self._seen_without[account_sid] = now
            return None
        return next((pause for pause in self._resolved(account_sid, [call_sid], held) if pause.is_active), None)

    def look_ahead(self, account_sid: str) -> None:
        """Look whether the account has any, for whoever asks within the next two seconds."""
        self.active_on(account_sid, "")

    def covering(self, account_sid: str, sids: Collection[str]) -> list[Pause]:
        """Return every pause, also one that has ended, that covers one of the calls or conferences.

        One read if there is none; another one for those that were asked for on other calls.
        """
        return self._resolved(account_sid, sids, self._read([_id(account_sid, sid) for sid in sids]))

    def _resolved(self, account_sid: str, sids: Collection[str], items: Mapping[str, Row]) -> list[Pause]:
        held = {key: item for key, item in items.items() if not _has_expired(item)}
        asked_on = {call_sid for item in held.values() for call_sid in item.get("asked_on", ())}
        if others := [key for call_sid in asked_on if (key := _id(account_sid, call_sid)) not in held]:
            held |= self._some(others)
        items = {sid: held.get(_id(account_sid, sid), {}) for sid in sorted(asked_on)}
        pauses = [_pause(account_sid, sid, item) for sid, item in items.items() if "pause" in item]
        return [pause for pause in pauses if not pause.covered.isdisjoint(sids)]

    def in_use(self, account_sids: Collection[str]) -> set[str]:
        """Return which of the accounts may have any."""
        held = self._read([_id(account_sid) for account_sid in account_sids])
        return {account_sid for account_sid in account_sids if _id(account_sid) in held}

    def conferences(self, account_sid: str) -> list[str]:
        """Return the conferences that the account's pauses cover, the latest ones first."""
        named = self._some([_id(account_sid)]).get(_id(account_sid), {}).get("conferences", ())
        return [entry.rpartition("#")[2] for entry in sorted(named, reverse=True)[:MOST_CONFERENCES]]

    # --- changing ------------------------------------------------------------------------------

    def begin(
        self, account_sid: str, call_sid: str, *, behavior: str = "", timer: str = "", due_at: datetime | None = None
    ) -> Pause:
        """Begin to pause everything that hears the call, or go on with the pause of it that there is.

        `timer` watches over it from now on, until `due_at`. Without one, a timer that there is goes on to.
        """
        now = clock.now()
        expires = _expires(max(now, due_at or now))
        asked = {"behavior": behavior} | ({"timer": timer, "due_at": clock.iso_milliseconds(due_at)} if due_at else {})
        key = _id(account_sid, call_sid)
        held: Row = {}
        # First, so that nobody who looks there misses what follows.
        account = self._update(_id(account_sid), {"expiration": expires}, first={"since": clock.iso_milliseconds(now)})
        known_since = datetime.fromisoformat((account or {})["since"])
        untold_until = clock.monotonic() + UNTOLD.total_seconds() if now - known_since < clock.SKEW + UNTOLD else 0.0
        for _ in range(_ATTEMPTS):
            if held and not held.get("ended_at") and not _has_expired(held):
                new, gone, unchanged = {}, set[str](), {"pause": held["pause"], "ended_at": None}
            else:
                new, gone = _new(call_sid, held, now), _of_one_pause(held)
                unchanged = {"pause": held.get("pause")}
            new |= asked | {"expiration": expires}
            if item := self._update(key, new, gone=gone, only_if=unchanged, add={"asked_on": {call_sid}}):
                return _pause(account_sid, call_sid, item)._replace(untold_until=untold_until)
            held = self._read([key]).get(key, {})
        raise StateUnavailableError

    def cover(self, pause: Pause, sids: Collection[str]) -> None:
        """Note that the pause covers these calls and conferences, too."""
        now = clock.now()
        for sid in sids:
            self._update(_id(pause.account_sid, sid), {"expiration": _expires(now)}, add={"asked_on": {pause.call_sid}})
        self._change(pause, add={"covered": set(sids)})
        if met := {f"{clock.iso_seconds(now)}#{sid}" for sid in sids if sid.startswith(sids_of.CONFERENCE)}:
            named = self._update(_id(pause.account_sid), {"expiration": _expires(now)}, add={"conferences": met})
            if old := sorted((named or {}).get("conferences", ()))[:-MOST_CONFERENCES]:
                self._update(_id(pause.account_sid), {}, less={"conferences": set(old)})

    def meet(self, pause: Pause, recording_sid: str, entry: Mapping[str, Any]) -> Mapping[str, Any]:
        """Note a recording that is about to be paused for it; return what was noted of it first."""
        item = self._change(pause, first={recording_sid: dict(entry)})
        return dict(item[recording_sid])

    def correct(self, pause: Pause, recording_sid: str, entry: Mapping[str, Any]) -> None:
        """Note something else of the recording."""
        self._change(pause, {recording_sid: dict(entry)})

    def prove(self, pause: Pause, at: datetime, found: Collection[str]) -> None:
        """Note that it is proven, and which recordings surely began before it was."""
        self._change(pause, first={"proven_at": clock.iso_milliseconds(at)}, add={"found": set(found)})

    def note_overdue(self, pause: Pause, timer: str) -> None:
        """Note that nobody had resumed in time; whatever happens later, that is still to be told."""
        self._change(pause, {"overdue": timer})

    def end(self, pause: Pause) -> None:
        """Note that what it had paused was resumed."""
        self._change(pause, {"ended_at": clock.iso_milliseconds(clock.now())})

    def _change(self, pause: Pause, put: Mapping[str, Any] | None = None, **more: Any) -> Row:
        item = self._update(
            _id(pause.account_sid, pause.call_sid), put or {}, only_if={"pause": pause.name, "ended_at": None}, **more
        )
        if item is None:
            raise PauseEndedError
        return item

    # --- DynamoDB ------------------------------------------------------------------------------

    def _some(self, keys: Collection[str]) -> dict[str, Row]:
        """Return the items that there are and that have not expired, as they are now."""
        return {key: item for key, item in self._read(keys).items() if not _has_expired(item)}

    def _read(self, keys: Collection[str]) -> dict[str, Row]:
        wanted = [{"id": {"S": key}} for key in dict.fromkeys(keys)]
        try:
            return {item["id"]: item for item in items_of(self.client, self.table_name, wanted)}
        except (ClientError, BotoCoreError) as error:
            raise StateUnavailableError from error

    def _update(  # noqa: PLR0913 (what an update can do)
        self,
        key: str,
        put: Mapping[str, Any],
        *,
        first: Mapping[str, Any] | None = None,
        add: Mapping[str, set[str]] | None = None,
        less: Mapping[str, set[str]] | None = None,
        gone: Collection[str] = (),
        only_if: Mapping[str, Any] | None = None,
    ) -> Row | None:
        """Change an item; return it as it is then, or None if that does not hold which it is changed for.

        `put` replaces attributes, `first` only those that are not there; `add` adds to sets and `less` takes from them;
        `gone` are removed. `only_if` are attributes as they must be; None: not there.
        """
        names: dict[str, str] = {}
        values: dict[str, AttributeValueTypeDef] = {}

        def name(of: str) -> str:
            names[placeholder := f"#n{len(names)}"] = of
            return placeholder

        def value(of: Any) -> str:
            values[placeholder := f":v{len(values)}"] = serialize(of)
            return placeholder

        actions = {
            "SET": [f"{name(n)} = {value(v)}" for n, v in put.items()]
            + [f"{(at := name(n))} = if_not_exists({at}, {value(v)})" for n, v in (first or {}).items()],
            "ADD": [f"{name(n)} {value(v)}" for n, v in (add or {}).items() if v],
            "DELETE": [f"{name(n)} {value(v)}" for n, v in (less or {}).items()],
            "REMOVE": [name(n) for n in gone if n not in put],
        }
        conditions = [
            f"attribute_not_exists({name(n)})" if v is None else f"{name(n)} = {value(v)}"
            for n, v in (only_if or {}).items()
        ]
        more: Any = {"ConditionExpression": " AND ".join(conditions)} if conditions else {}
        if values:
            more["ExpressionAttributeValues"] = values
        try:
            answer = self.client.update_item(
                TableName=self.table_name,
                Key={"id": {"S": key}},
                UpdateExpression=" ".join(f"{verb} {', '.join(what)}" for verb, what in actions.items() if what),
                ExpressionAttributeNames=names,
                ReturnValues="ALL_NEW",
                **more,
            )
        except (ClientError, BotoCoreError) as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return None
            raise StateUnavailableError from error
        return plain(answer["Attributes"])


def _id(account_sid: str, sid: str = "") -> str:
    return f"pause#{account_sid}#{sid}" if sid else f"pause#{account_sid}"


def _has_expired(item: Row) -> bool:
    """Tell whether DynamoDB may remove the item at any time, or does not know yet that it should."""
    return bool(item.get("expiration", 0) <= clock.now().timestamp())


def _expires(after: datetime) -> int:
    return int((after + KEPT_FOR).timestamp())


def _new(call_sid: str, held: Row, now: datetime) -> Row:
    """Return what the item says of a new pause, after the one that has ended."""
    # Here, because starts wait for cold starts, and pause nothing.
    import secrets  # noqa: PLC0415

    milliseconds = int(now.timestamp() * 1000)
    past = list(held.get("past", []))
    if "pause" in held:
        span = _span(held)
        past.append({**span._asdict(), "found": sorted(span.found)})
    return {
        "pause": f"pause-{uuid.UUID(int=milliseconds << 80 | secrets.randbits(80))}",
        "asked_at": clock.iso_milliseconds(now),
        "covered": {call_sid},
        "past": past[-_MOST_PAST:],
    }


def _of_one_pause(held: Row) -> set[str]:
    """Return the attributes that say something of no pause but the one that has ended."""
    return {"ended_at", "proven_at", "timer", "due_at", "overdue", "found"} | {
        name for name in held if name.startswith(sids_of.RECORDING)
    }


def _span(item: Row) -> Span:
    told = {name: item[name] for name in Span._fields[1:] if name in item}
    return _remembered({"name": item["pause"], **told})


def _remembered(span: Mapping[str, Any]) -> Span:
    return Span(**{**span, "found": frozenset(span.get("found", ()))})


def _pause(account_sid: str, call_sid: str, item: Row) -> Pause:
    return Pause(
        account_sid,
        call_sid,
        _span(item),
        covered=frozenset(item["covered"]),
        recordings={name: entry for name, entry in item.items() if sids_of.is_sid(name, sids_of.RECORDING)},
        past=tuple(map(_remembered, item["past"])),
        behavior=item.get("behavior", ""),
        overdue=item.get("overdue", ""),
    )
