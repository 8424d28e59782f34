"""What a list shows, page by page: recordings, calls, conferences or those who take part in one.

Source: Twilio's OpenAPI description, "Twilio's Response" (paging by `next_page_uri` and `PageToken`), and
docs/voice/api/recording for the filters.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from local.twilio_simulator.model import Recording

_PAGE_SIZE: Final = 50
_LARGEST_PAGE: Final = 1000
_NEXT, _PREVIOUS = "PA", "PB"
"""How page tokens begin, before a SID: what comes after that one, or before it."""


class InvalidQueryError(Exception):
    """A parameter of a list is not what Twilio takes; the message names it."""


class Query:
    """The parameters of a list; `by_day` takes times in `DateCreated<` and `DateCreated>` for their day.

    Raises InvalidQueryError.
    """

    def __init__(self, query: str, *, by_day: bool = False) -> None:
        self.given = dict(parse_qsl(query))
        self.by_day = by_day
        self.size = self._number("PageSize", _PAGE_SIZE, 1, _LARGEST_PAGE)
        self.page = self._number("Page", 0, 0, None)
        self.token = self.given.get("PageToken", "")
        self.includes_deleted = self.given.get("IncludeSoftDeleted", "false").lower() == "true"
        if self.page and not self.token:
            raise InvalidQueryError("Page without its PageToken")
        self.created_on, self.created_until, self.created_from = (
            self._moment(name) for name in ("DateCreated", "DateCreated<", "DateCreated>")
        )

    def wants(self, recording: Recording) -> bool:
        """Return whether the filters of recordings let this one through.

        `DateCreated=` is a UTC day, whatever time it has. `DateCreated<=` and `>=` are documented with days:
        "created at or before midnight" and "at or after midnight".
        """
        created = datetime.fromtimestamp(int(recording.started_at), UTC)
        conference_sid = recording.conference.sid if recording.conference else None
        return (
            self.given.get("CallSid") in {None, recording.call_sid}
            and self.given.get("ConferenceSid") in {None, conference_sid}
            and (self.created_on is None or created.date() == self.created_on.date())
            and (self.created_from is None or created >= self.created_from)
            and (self.created_until is None or created <= self.created_until)
        )

    def one_of(self, name: str, words: Collection[str]) -> str | None:
        """Return the word that a filter has, or None without that filter."""
        word = self.given.get(name)
        if word is not None and word not in words:
            raise InvalidQueryError(f"{name} is none of the words that are allowed")
        return word

    def _number(self, name: str, default: int, least: int, most: int | None) -> int:
        text = self.given.get(name, str(default))
        if not text.isascii() or not text.isdecimal() or int(text) < least or (most is not None and int(text) > most):
            raise InvalidQueryError(f"{name} is not a number that is allowed")
        return int(text)

    def _moment(self, name: str) -> datetime | None:
        text = self.given.get(name)
        if text is None:
            return None
        try:
            moment = parsedate_to_datetime(text) if "," in text else datetime.fromisoformat(text)
        except ValueError as error:
            raise InvalidQueryError(f"{name} is not a time") from error
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        return _midnight(moment) if self.by_day else moment


def page[One](  # noqa: PLR0913 (what is different about a list)
    everything: Mapping[str, One],
    query: Query,
    *,
    path: str,
    name: str,
    is_listed: Callable[[One], bool],
    show: Callable[[One], dict[str, Any]],
) -> dict[str, Any]:
    """Return the page of a list that was asked for, newest first, with its resources under `name`.

    `everything` has all there ever were by their SIDs, oldest first: what a token names may be listed no more. Raises
    InvalidQueryError for a token that names nothing.
    """
    newest_first = list(reversed(list(everything.items())))
    place = _place([sid for sid, _ in newest_first], query.token)
    found = [(at, sid, one) for at, (sid, one) in enumerate(newest_first) if is_listed(one)]
    if query.token.startswith(_PREVIOUS):
        shown = [(at, sid, one) for at, sid, one in found if at < place][-query.size :]
    else:
        shown = [(at, sid, one) for at, sid, one in found if at > place][: query.size]

    def uri(number: int, token: str | None) -> str:
        kept = {name: value for name, value in query.given.items() if name not in {"Page", "PageSize", "PageToken"}}
        named = {"PageSize": str(query.size), "Page": str(number)} | ({"PageToken": token} if token else {})
        return f"{path}?{urlencode(kept | named)}"

    has_more = bool(shown) and shown[-1] != found[-1]
    has_less = bool(shown) and shown[0] != found[0]
    start = query.page * query.size
    return {
        "end": start + max(0, len(shown) - 1),
        "first_page_uri": uri(0, None),
        "next_page_uri": uri(query.page + 1, _NEXT + shown[-1][1]) if has_more else None,
        "page": query.page,
        "page_size": query.size,
        "previous_page_uri": uri(max(0, query.page - 1), _PREVIOUS + shown[0][1]) if has_less else None,
        name: [show(one) for _, _, one in shown],
        "start": start,
        "uri": uri(query.page, query.token or None),
    }


def _place(newest_first: Sequence[str], token: str) -> int:
    if not token:
        return -1
    for at, sid in enumerate(newest_first):
        if token in {_NEXT + sid, _PREVIOUS + sid}:
            return at
    raise InvalidQueryError("PageToken names no page")


def _midnight(moment: datetime) -> datetime:
    return moment - timedelta(hours=moment.hour, minutes=moment.minute, seconds=moment.second)
