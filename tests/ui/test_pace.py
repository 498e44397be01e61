"""Updates at a pace that many pages leave room for."""

from __future__ import annotations

import pytest

from gpt.ui.pace import Pace


def test_many_streams_are_sent_less_often() -> None:
    pace = Pace()
    assert pace.seconds(0.1) == 0.1
    with pace.stream(), pace.stream():
        assert pace.seconds(0.1) == 0.1
    streams = [pace.stream() for _ in range(30)]
    for stream in streams:
        stream.__enter__()
    assert pace.seconds(0.1) == pytest.approx(0.5)  # sixty updates a second in all
    assert pace.seconds(0.7) == 0.7
    for stream in streams:
        stream.__exit__(None, None, None)
    assert pace.seconds(0.1) == 0.1
    many = [pace.stream() for _ in range(1000)]
    for stream in many:
        stream.__enter__()
    assert pace.seconds(0.1) < 1
