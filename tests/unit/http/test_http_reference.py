"""A caller's own name for a recording is not taken for a telephone number because it has digits in it."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from call_recording.http.reference import reference


@given(st.uuids(), st.sampled_from(["", "case ", "room/"]))
def test_a_uuid_is_a_name(uuid: object, before: str) -> None:
    assert reference(f"{before}{uuid}") == f"{before}{uuid}"


@given(st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1)))  # noqa: DTZ001 (any will do)
def test_a_time_is_a_name(moment: datetime) -> None:
    assert reference(f"{moment.isoformat()}Z")


@given(st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True), st.sampled_from(["", "Call from ", "tel:", "x"]))
def test_a_number_in_international_form_is_none_wherever_it_stands(number: str, before: str) -> None:
    with pytest.raises(ValueError, match="telephone"):
        reference(before + number)
