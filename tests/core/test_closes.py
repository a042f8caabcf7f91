"""The table of close codes: what may go on the wire, and what the browser's end does then."""

from __future__ import annotations

import json
import re

import pytest

from tests.servers import ROOT
from ws4redis.core import closes
from ws4redis.core.closes import LATE, NEVER, SOON, SPREAD, TABLE
from ws4redis.protocol.frames import CloseCode, parse_close, serialize_close

SCRIPT = (ROOT / "ws4redis/static/js/ws4redis.js").read_text("utf-8")


def codes_of_the_script(name: str) -> set[int]:
    match = re.search(rf"const {name} = (.+);", SCRIPT)
    assert match
    found = json.loads(match[1])
    return {*found} if isinstance(found, list) else {found}


#: what the client does -> the codes after which it does so
CLIENT = {
    NEVER: codes_of_the_script("FINAL_CODES"),
    LATE: codes_of_the_script("POLICY_VIOLATION"),
    SPREAD: codes_of_the_script("SPREAD_CODES"),
}


@pytest.mark.parametrize("name", TABLE)
def test_rows(name: str) -> None:
    row = TABLE[name]
    assert getattr(closes, name) is row
    assert parse_close(serialize_close(*row.frame)) == row.frame
    assert row.frame == (row.code, row.reason)
    assert row.meaning.endswith(".")
    assert row.client == next((client for client, codes in CLIENT.items() if row.code in codes), SOON)


def test_the_table_is_in_the_order_of_codes_and_has_each_frame_once() -> None:
    rows = [*TABLE.values()]
    assert [row.code for row in rows] == sorted(row.code for row in rows)
    frames = [row.frame for row in rows]
    assert len({*frames}) == len(frames)


def test_the_protocol_uses_codes_of_the_table_only() -> None:
    sources = [path.read_text("utf-8") for path in (ROOT / "ws4redis/protocol").glob("*.py")]
    raised = {name for source in sources for name in re.findall(r"ProtocolError\(CloseCode\.(\w+)", source)}
    assert raised <= {row.code.name for row in TABLE.values()}
    assert "PROTOCOL_ERROR" in raised
    assert CloseCode.POLICY_VIOLATION.name in raised
