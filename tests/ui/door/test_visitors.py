"""Visitors are those who hold a secret of the server's, and a page is one visitor's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from served import ANNA

from gpt.runs.run import Run
from gpt.runs.scheduler import Runs
from gpt.ui.door.asking import address_of, answering, asking
from gpt.ui.door.visitors import Visitors


@pytest.mark.parametrize("value", ["", "short", "x" * 32, None, 7, True, ["s" * 32], {"s": 1}], ids=repr)
def test_what_the_server_did_not_hand_out_is_no_secret(runs: Runs, value: Any) -> None:
    visitors = Visitors(runs)
    with answering("page", "192.0.2.1"):
        assert visitors.recognise(value) == visitors.here() == ""
        mine = visitors.who(value)
        assert len(mine) == 32
        assert mine != value
        assert visitors.who(value) == visitors.who("") == visitors.here() == mine  # one page, one visitor
    with answering("another page", "192.0.2.1"):
        assert visitors.who("") != mine
        assert visitors.who(mine) == visitors.here() == mine  # the same person in another tab


def test_whoever_has_a_run_is_known_after_a_restart(runs: Runs, start: Callable[..., Run]) -> None:
    start(ANNA)
    visitors = Visitors(runs)  # of a server that has restored the run
    assert visitors.recognise(ANNA) == ANNA
    visitors.leave("")
    assert visitors.here() == ""


def test_nobody_asks_outside_of_a_call() -> None:
    assert (asking().page, asking().address) == ("", "")
    with answering("page", "192.0.2.1"):
        assert asking().page == "page"
    assert asking().page == ""


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("192.0.2.7", 4711), "192.0.2.7"),
        (("::ffff:192.0.2.7", 1), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::/64"),
        (("2001:db8:1:2:ffff::1", 1), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 1), "fe80::/64"),
        (("testclient", 50000), "testclient"),
        (None, ""),
    ],
)
def test_an_address_is_of_one_visitor_or_one_network(client: Any, address: str) -> None:
    assert address_of(client) == address
