"""The reasons why a connection ended: their texts are what programs and stores keep."""

from __future__ import annotations

import re

from iotio_protocol.reasons import DisconnectReason
from scripts.tools.environments import ROOT


def test_each_text_is_the_name_of_its_reason() -> None:
    for reason in DisconnectReason:
        assert reason == reason.value == str(reason) == reason.name.lower()
        assert DisconnectReason(reason.value) is reason


def test_each_reason_has_words_for_people() -> None:
    words = [reason.words for reason in DisconnectReason]
    assert len(set(words)) == len(words)
    assert DisconnectReason.PING_TIMEOUT.words == "it has not answered a ping"


def test_each_reason_is_documented() -> None:
    page = (ROOT / "docs" / "explanation" / "connections.md").read_text(encoding="utf-8")
    table = page.partition("| `DisconnectReason` |")[2].partition("\n\n")[0]
    in_table = dict(re.findall(r"^\| `([A-Z_]+)` \| `([a-z_]+)` \|", table, re.MULTILINE))
    not_for_handlers = {"REFUSED", "HANDSHAKE_TIMEOUT"}
    assert in_table == {reason.name: reason.value for reason in DisconnectReason if reason.name not in not_for_handlers}
    for name in not_for_handlers:
        assert f"`{name}`" in page
