"""Pauses of whole calls, what they cover, and what they have paused: items of IdempotencyTable.

There is an item for each call and conference that such a pause covers, or of which it found a recording,
`pause#{account}#{SID}`. It names the calls for which the pause was requested (`asked_on`); the item of that call has
everything else. One more, `pause#{account}`, says that the account may have pauses, and which conferences they cover.

If it does not exist, nothing else needs to be read, and for `UNTOLD` it does not need to be read again: the first
pause in an account waits that long before it confirms that everything is paused.
"""

import uuid
from collections.abc import Collection, Mapping
from contextlib import suppress
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
"""How long an item is kept after its pause was requested, or after its time is over: no call lasts longer."""

RUNNING: Final = "in-progress"
PAUSED: Final = "paused"
"""A recording's state before everything was paused. One that was paused already belongs to somebody else's pause."""

MOST_CONFERENCES: Final = 50
"""The most conferences in an account's item, the latest: each costs a request to Twilio to find calls that joined."""

UNTOLD: Final = timedelta(seconds=2)
"""How long a process that found no pause in an account may rely on that."""

_MOST_PAST: Final = 10
"""The most ended pauses of a call that are kept, the latest."""

_ATTEMPTS: Final = 5
_SETTLED_AFTER: Final = timedelta(seconds=60)
"""When an unconfirmed pause is certainly no longer in progress: a function runs for 28 s, and clocks differ."""


type _Path = tuple[str, str]
"""The name of an attribute, and of something in it."""

type _Values = Mapping[str, Any] | Mapping[_Path, Any]


class Span(NamedTuple):
    """When a call was paused and resumed. All times are ISO 8601, UTC, with milliseconds; empty if not yet.

    `timer` monitors it until `due_at`, if there is one. `found` are the recordings that it found before it was
    confirmed, which therefore began earlier. `covered` are the calls and conferences that it covers.
    """

    name: str
    asked_at: str
    proven_at: str = ""
    ended_at: str = ""
    timer: str = ""
    due_at: str = ""
    found: frozenset[str] = frozenset()
    covered: frozenset[str] = frozenset()

    def covers(self, sids: Collection[str]) -> bool:
        """Return whether it covers one of the calls and conferences."""
        return not self.covered.isdisjoint(sids)


class Pause(NamedTuple):
    """The latest pause that was requested for a call, and its `past` ones.

    `recordings` are those that it found: what each `was`, whose it is (`call` or `conference`), and whether it is
    `late`: it appeared after the pause was confirmed.
    """

    account_sid: str
    call_sid: str
    span: Span
    recordings: Mapping[str, Mapping[str, Any]]
    past: tuple[Span, ...]
    behavior: str = ""
    """Twilio's PauseBehavior, if the request chose one."""

    untold_until: float = 0.0
    """Until when, by `clock.monotonic`, a start that has not seen the pause may still begin."""

    auto_resume: bool = False
    """Whether the latest request for it wants its timer to resume it."""

    overdue: frozenset[str] = frozenset()
    """The timers that found that their pause had timed out, of past ones too."""

    resumed_by: frozenset[str] = frozenset()
    """The timers that resumed their pause."""

    requests: frozenset[str] = frozenset()
    """The requests that paused or resumed, each after the pause's name: see `ended_since`."""

    @property
    def name(self) -> str:
        """The `group` in answers."""
        return self.span.name

    @property
    def covered(self) -> frozenset[str]:
        """The calls and conferences that it covers."""
        return self.span.covered

    @property
    def spans(self) -> tuple[Span, ...]:
        """When the call was paused, latest first."""
        return (self.span, *reversed(self.past))

    @property
    def is_active(self) -> bool:
        """Whether it has not been resumed yet."""
        return not self.span.ended_at

    @property
    def is_settled(self) -> bool:
        """Whether it is confirmed or no longer in progress: recordings that appear from now on are late."""
        given_up = datetime.fromisoformat(self.span.asked_at) + _SETTLED_AFTER
        return bool(self.span.proven_at) or clock.now() > given_up

    def may_precede(self, row: Row) -> bool:
        """Return whether the last change of the row's recording through this stack may have come after the request."""
        since = datetime.fromisoformat(self.span.asked_at) - clock.SKEW
        return bool(row.get("control", {}).get("seen_at", "") > clock.iso_milliseconds(since))

    def is_of(self, request: str) -> bool:
        """Return whether the request (`Intent.by`) paused or resumed it."""
        return bool(_requested(self.name, request) & self.requests)

    def ended_since(self, request: str) -> str | None:
        """Return the name of the pause that the request (`Intent.by`) paused or resumed, if that has ended."""
        ended = (span.name for span in self.spans if span.ended_at)
        return next((name for name in ended if _requested(name, request) & self.requests), None)

    def covering(self, sids: Collection[str]) -> Self:
        """Return the same pause, covering these as well."""
        return self._replace(span=self.span._replace(covered=self.covered.union(sids)))

    @property
    def form(self) -> list[tuple[str, str]]:
        """The body parameters with which Twilio pauses a recording for it."""
        form = {"Status": PAUSED, "PauseBehavior": self.behavior}
        return [(name, value) for name, value in form.items() if value]

    @property
    def by(self) -> str:
        """The value of `by` in the `control` of recordings that it changed."""
        return self.name[-16:]


class Noted(NamedTuple):
    """What a pause knows of a recording that is about to be paused: its former state, and whether it came later.

    `by` is the value for the `control` of its row: whose pause it is. Another pause must not take it for ours.
    """

    was: str
    is_late: bool
    by: str


class Pauses:
    """The stack's pauses of whole calls. Every method raises StateUnavailableError."""

    def __init__(self, client: "DynamoDBClient", table_name: str) -> None:
        self.client = client
        self.table_name = table_name
        self._seen_without: dict[str, tuple[float, datetime]] = {}
        """When an account was last found to have none: by the monotonic and by the wall clock."""

    @classmethod
    def connect(cls, settings: "MemorySettings") -> Self:
        """Return the pauses of the stack that the settings describe."""
        return cls(clients.dynamodb(), settings.idempotency_table)

    # --- looking -------------------------------------------------------------------------------

    def of(self, account_sid: str, call_sid: str) -> Pause | None:
        """Return the pause that was requested for exactly that call, if there is one."""
        key = _id(account_sid, call_sid)
        item = self._some([key]).get(key, {})
        return _pause(account_sid, call_sid, item) if "pause" in item else None

    def active_on(self, account_sid: str, call_sid: str) -> Pause | None:
        """Return a pause that covers the call and was not resumed yet, if there is one.

        Reads nothing within `UNTOLD` of a read that found none in the account; otherwise one read, and another one for
        a pause that was requested for another call.
        """
        seen, now = self._seen_without.get(account_sid), (clock.monotonic(), clock.now())
        # Both clocks: a frozen machine may stop the one, and the other can be set.
        if seen and now[0] - seen[0] < UNTOLD.total_seconds() and timedelta() <= now[1] - seen[1] < UNTOLD:
            return None
        held = self._read([_id(account_sid), _id(account_sid, call_sid)])
        if _id(account_sid) not in held:
            self._seen_without[account_sid] = now
            return None
        found = self._named_in(account_sid, held)
        return next((pause for pause in found if pause.is_active and pause.span.covers([call_sid])), None)

    def look_ahead(self, account_sid: str) -> None:
        """Check whether the account has any, for requests within the next two seconds."""
        self.active_on(account_sid, "")

    def covering(self, account_sid: str, sids: Collection[str]) -> list[Pause]:
        """Return every latest pause of a call, ended ones included, that covers one of the calls or conferences.

        One read if there is none; another one for those that were requested for other calls.
        """
        return [pause for pause in self.ever_covering(account_sid, sids) if pause.span.covers(sids)]

    def ever_covering(self, account_sid: str, sids: Collection[str]) -> list[Pause]:
        """Return every pause that covers one of them, or of which a past one does. It reads as often."""
        return [pause for pause in self.near(account_sid, sids) if any(span.covers(sids) for span in pause.spans)]

    def near(self, account_sid: str, sids: Collection[str]) -> list[Pause]:
        """Return the latest pauses that cover one of the calls or conferences, or may have found recordings of it.

        A pause may have found one by its row and not have learned yet that it covers the recording's call. It reads as
        often; some of the pauses may have done neither.
        """
        return self._named_in(account_sid, self._read([_id(account_sid, sid) for sid in sids]))

    def _named_in(self, account_sid: str, items: Mapping[str, Row]) -> list[Pause]:
        held = {key: item for key, item in items.items() if not _has_expired(item)}
        asked_on = {call_sid for item in held.values() for call_sid in item.get("asked_on", ())}
        if others := [key for call_sid in asked_on if (key := _id(account_sid, call_sid)) not in held]:
            held |= self._some(others)
        items = {sid: held.get(_id(account_sid, sid), {}) for sid in sorted(asked_on)}
        return [_pause(account_sid, sid, item) for sid, item in items.items() if "pause" in item]

    def in_use(self, account_sids: Collection[str]) -> set[str]:
        """Return which of the accounts may have pauses."""
        held = self._read([_id(account_sid) for account_sid in account_sids])
        return {account_sid for account_sid in account_sids if _id(account_sid) in held}

    def conferences(self, account_sid: str) -> list[str]:
        """Return the conferences that the account's pauses cover, latest first."""
        named = self._some([_id(account_sid)]).get(_id(account_sid), {}).get("conferences", ())
        return [entry.rpartition("#")[2] for entry in sorted(named, reverse=True)[:MOST_CONFERENCES]]

    # --- changing ------------------------------------------------------------------------------

    def begin(  # noqa: PLR0913 (what a request can say)
        self,
        account_sid: str,
        call_sid: str,
        *,
        behavior: str = "",
        timer: str = "",
        due_at: datetime | None = None,
        auto_resume: bool = False,
        request: str = "",
    ) -> Pause:
        """Begin to pause everything on the call, or continue its existing pause.

        `timer` monitors it from now on, until `due_at`. Without one, an existing timer continues, but no longer resumes
        the pause.
        """
        now = clock.now()
        expires = _expires(max(now, due_at or now))
        asked: Row = {"behavior": behavior, "auto_resume": auto_resume}
        asked |= {"timer": timer, "due_at": clock.iso_milliseconds(due_at)} if due_at else {}
        key = _id(account_sid, call_sid)
        held: Row = {}
        # First, so that a reader of this item misses nothing that follows.
        account = self._update(_id(account_sid), {"expiration": expires}, first={"since": clock.iso_milliseconds(now)})
        known_since = datetime.fromisoformat((account or {})["since"])
        untold_until = clock.monotonic() + UNTOLD.total_seconds() if now - known_since < clock.SKEW + UNTOLD else 0.0
        for _ in range(_ATTEMPTS):
            if held and not held.get("ended_at") and not _has_expired(held):
                new, gone, unchanged = {"pause": held["pause"]}, set[str](), {"ended_at": None}
            else:
                new, gone, unchanged = _new(call_sid, held, now), _of_one_pause(held), {}
            unchanged |= {"pause": held.get("pause")}
            add = {"asked_on": {call_sid}, "requests": _requested(new["pause"], request)}
            new |= asked | {"expiration": expires}
            if item := self._update(key, new, gone=gone, only_if=unchanged, add=add):
                return _pause(account_sid, call_sid, item)._replace(untold_until=untold_until)
            held = self._read([key]).get(key, {})
        raise StateUnavailableError

    def cover(self, pause: Pause, sids: Collection[str]) -> None:
        """Save that the pause covers these calls and conferences, too."""
        now = clock.now()
        self._name(pause, sids)
        self._change(pause, add={"covered": set(sids)})
        if met := {f"{clock.iso_seconds(now)}#{sid}" for sid in sids if sid.startswith(sids_of.CONFERENCE)}:
            named = self._update(_id(pause.account_sid), {"expiration": _expires(now)}, add={"conferences": met})
            if old := sorted((named or {}).get("conferences", ()))[:-MOST_CONFERENCES]:
                self._update(_id(pause.account_sid), {}, less={"conferences": set(old)})

    def _name(self, pause: Pause, sids: Collection[str]) -> None:
        """Let the items of these calls and conferences name the pause's call."""
        for sid in sids:
            expires = {"expiration": _expires(clock.now())}
            self._update(_id(pause.account_sid, sid), expires, add={"asked_on": {pause.call_sid}})

    def meet(self, pause: Pause, recording_sid: str, entry: Mapping[str, Any]) -> Mapping[str, Any]:
        """Save a recording that is about to be paused for it; return what was saved first."""
        item = self._change(pause, first={recording_sid: dict(entry)})
        return dict(item[recording_sid])

    def note(
        self, pause: Pause, recording_sid: str, owner: Mapping[str, str], row: Row | None, *, is_late: bool
    ) -> Noted:
        """Save a recording of that `call` or `conference` before it is paused; return what is saved.

        It belongs to somebody else if they paused it separately, before or after the pause had found it.
        """
        is_paused = row is not None and row["status"] == PAUSED
        entry = {"was": PAUSED if is_paused else RUNNING, **owner} | ({"late": True} if is_late else {})
        self._name(pause, set(owner.values()) - pause.covered)
        held = self.meet(pause, recording_sid, entry)
        noted = Noted(held["was"], is_late="late" in held, by=pause.by)
        others = _others(row) if row and is_paused else None
        if others is None:
            return noted
        if noted.was == RUNNING:
            self.correct(pause, recording_sid, PAUSED)
        return noted._replace(was=PAUSED, by=others)

    def correct(self, pause: Pause, recording_sid: str, was: str) -> None:
        """Change the saved state of the recording before everything was paused, and nothing else about it."""
        self._change(pause, {(recording_sid, "was"): was})

    def note_resuming(self, pause: Pause, recording_sid: str) -> Mapping[str, Any]:
        """Save that the recording is about to be resumed; return what is saved, which others may have corrected."""
        item = self._change(pause, {(recording_sid, "resuming_at"): clock.iso_milliseconds(clock.now())})
        return dict(item[recording_sid])

    def prove(self, pause: Pause, at: datetime, found: Collection[str]) -> None:
        """Save that it is confirmed, and which recordings began before that, unless it was confirmed before."""
        proven_at = {"proven_at": clock.iso_milliseconds(at)}
        held = None
        if not pause.span.proven_at:
            unproven = {"pause": pause.name, "ended_at": None, "proven_at": None}
            key = _id(pause.account_sid, pause.call_sid)
            held = self._update(key, proven_at, add={"found": set(found)}, only_if=unproven)
        if held is None:  # others may have begun since it was confirmed
            self._change(pause, first=proven_at)

    def note_overdue(self, pause: Pause, timer: str) -> None:
        """Save that the pause timed out; that is still to be reported, whatever happens later."""
        self._change(pause, add={"overdue_timers": {timer}})

    def begin_to_resume(self, pause: Pause, request: str) -> None:
        """Save that the request resumes the pause, before it does."""
        if request:
            self._change(pause, add={"requests": _requested(pause.name, request)})

    def end(self, pause: Pause, *, timer: str = "") -> None:
        """Save that everything it had paused was resumed, by the `timer` if one is named, if nobody did so before."""
        # boto3 repeats a write whose answer was lost, and finds what the first one has done.
        with suppress(PauseEndedError):
            ended = {"ended_at": clock.iso_milliseconds(clock.now())}
            self._change(pause, ended, add={"resumed_by": {timer} - {""}})

    def _change(self, pause: Pause, put: _Values | None = None, **more: Any) -> Row:
        item = self._update(
            _id(pause.account_sid, pause.call_sid), put or {}, only_if={"pause": pause.name, "ended_at": None}, **more
        )
        if item is None:
            raise PauseEndedError
        return item

    # --- DynamoDB ------------------------------------------------------------------------------

    def _some(self, keys: Collection[str]) -> dict[str, Row]:
        """Return the existing items that have not expired (strongly consistent)."""
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
        put: _Values,
        *,
        first: Mapping[str, Any] | None = None,
        add: Mapping[str, set[str]] | None = None,
        less: Mapping[str, set[str]] | None = None,
        gone: Collection[str] = (),
        only_if: Mapping[str, Any] | None = None,
    ) -> Row | None:
        """Change an item; return the changed item, or None if its condition does not hold.

        `put` replaces attributes, or what is in them, `first` sets only missing ones; `add` adds to sets and `less`
        removes from them; `gone` are removed. `only_if` are required values; None: missing.
        """
        names: dict[str, str] = {}
        values: dict[str, AttributeValueTypeDef] = {}

        def name(of: str | _Path) -> str:
            if not isinstance(of, str):
                return ".".join(map(name, of))
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


def _others(row: Row) -> str | None:
    """Return who paused the row's recording separately, perhaps in the same second as a pause of everything.

    Empty if that is not known, None if nobody did: only pauses of everything.
    """
    # Imported here to shorten cold starts: what only looks for pauses needs no facts.
    from call_recording.recordings.facts import Control  # noqa: PLC0415

    control = Control(**row["control"]) if "control" in row else None
    if control is None or not control.is_of_everything:
        return control.by if control else ""
    return None if control.is_surely_last else ""


def _id(account_sid: str, sid: str = "") -> str:
    return f"pause#{account_sid}#{sid}" if sid else f"pause#{account_sid}"


def _requested(pause: str, request: str) -> set[str]:
    return {f"{pause[-16:]}#{request}"} if request else set()


def _has_expired(item: Row) -> bool:
    """Return whether the item has expired: DynamoDB may delete it at any time."""
    return bool(item.get("expiration", 0) <= clock.now().timestamp())


def _expires(after: datetime) -> int:
    return int((after + KEPT_FOR).timestamp())


def _new(call_sid: str, held: Row, now: datetime) -> Row:
    """Return the item's attributes for a new pause, after the previous one has ended."""
    # Imported here to shorten cold starts: starts pause nothing.
    import secrets  # noqa: PLC0415

    milliseconds = int(now.timestamp() * 1000)
    past, covered = list(held.get("past", [])), dict(held.get("past_covered", {}))
    if "pause" in held:
        span = _span(held)
        told = {name: value for name, value in span._asdict().items() if name != "covered"}
        past.append({**told, "found": sorted(span.found)})
        covered[span.name] = span.covered
    past = past[-_MOST_PAST:]
    return {
        "pause": f"pause-{uuid.UUID(int=milliseconds << 80 | secrets.randbits(80))}",
        "asked_at": clock.iso_milliseconds(now),
        "covered": {call_sid},
        "past": past,
        # Beside them: the previous version, which runs on during a deployment, knows nothing else of a past one.
        "past_covered": {span["name"]: covered[span["name"]] for span in past if covered.get(span["name"])},
    }


def _of_one_pause(held: Row) -> set[str]:
    """Return the attributes that belong only to the ended pause."""
    return {*Span._fields[2:], *(name for name in held if name.startswith(sids_of.RECORDING))}


def _span(item: Row) -> Span:
    told = {name: item[name] for name in Span._fields[1:] if name in item}
    return _remembered({"name": item["pause"], **told}, item["covered"])


def _remembered(span: Mapping[str, Any], covered: Collection[str]) -> Span:
    return Span(**{**span, "found": frozenset(span.get("found", ())), "covered": frozenset(covered)})


def _pause(account_sid: str, call_sid: str, item: Row) -> Pause:
    return Pause(
        account_sid,
        call_sid,
        _span(item),
        recordings={name: entry for name, entry in item.items() if sids_of.is_sid(name, sids_of.RECORDING)},
        past=tuple(_remembered(span, item.get("past_covered", {}).get(span["name"], ())) for span in item["past"]),
        behavior=item.get("behavior", ""),
        auto_resume=item.get("auto_resume", True),
        overdue=frozenset(item.get("overdue_timers", ())),
        resumed_by=frozenset(item.get("resumed_by", ())),
        requests=frozenset(item.get("requests", ())),
    )
