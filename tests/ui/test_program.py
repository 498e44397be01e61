"""`python demo.py`, and `gpt-lab demo`: which limits, addresses and passwords its options mean."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from served import serve

from gpt.runs.limits import CLASSROOM, LAPTOP, SPACE
from gpt.ui import app, program
from gpt.ui.listening import CannotListen


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch):
    """`started(*options)`: what `python demo.py` with these options makes and launches, as two dictionaries."""

    def start(*options: str) -> tuple[dict[str, Any], dict[str, Any]]:
        made: dict[str, Any] = {}
        launched: dict[str, Any] = {}
        monkeypatch.setattr(program, "create_demo", lambda **given: made.update(given) or "page")
        monkeypatch.setattr(program, "launch", lambda page, **given: launched.update(given))
        monkeypatch.setattr(sys, "argv", ["demo.py", *options])
        program.main()
        return made, launched

    return start


def test_programs_may_speak_mcp_where_it_is_asked_for(started, monkeypatch, capsys):
    monkeypatch.setattr(program, "find_spec", lambda name: name == "mcp")
    assert started("--mcp")[1]["mcp_server"] is True
    monkeypatch.setenv(program.PASSWORD_VARIABLE, "sesame")
    with pytest.raises(SystemExit):
        started("--mcp")
    assert "--mcp has no login" in capsys.readouterr().err
    monkeypatch.setattr(program, "find_spec", lambda _: None)
    with pytest.raises(SystemExit):
        started("--mcp")
    assert "pip install 'gradio[mcp]==" in capsys.readouterr().err


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPACE_ID", program.PASSWORD_VARIABLE):
        monkeypatch.delenv(name, raising=False)


def test_a_laptop_keeps_to_itself(started):
    made, launched = started()
    assert made == {"limits": LAPTOP}
    assert launched == {
        "server_name": None,
        "server_port": None,
        "share": False,
        "keeps_runs": True,
        "auth": None,
    }


def test_what_cannot_listen_is_one_sentence(started, monkeypatch, capsys):
    def refuse(*_: Any, **__: Any) -> None:
        raise CannotListen("port 7899 is in use")

    monkeypatch.setattr(program, "create_demo", lambda **_: "page")
    monkeypatch.setattr(program, "launch", refuse)
    monkeypatch.setattr(sys, "argv", ["demo.py", "--port", "7899"])
    with pytest.raises(SystemExit, match="2"):
        program.main()
    assert capsys.readouterr().err.endswith("demo.py: error: port 7899 is in use\n")


def test_no_place_for_temporary_files_is_one_sentence(monkeypatch, capsys, tmp_path):
    def refuse(**_: Any) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr(program, "create_demo", refuse)
    with pytest.raises(SystemExit, match="2"):
        program.main([], called="gpt-lab demo")
    said = f"gpt-lab demo: error: there is no place for temporary files ({tmp_path}: permission denied); name a folder"
    assert said in capsys.readouterr().err


def test_what_cannot_be_kept_is_said_at_the_start(monkeypatch, caplog, tmp_path):
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / name)
    assert app._archive(7899) == tmp_path / "gpt-lab" / "runs" / "7899"
    assert not caplog.records
    monkeypatch.setattr("os.access", lambda place, _: place != tmp_path)
    app._archive(7899)
    assert caplog.messages == [f"runs under way will end with this server: {tmp_path} may not be written"]


def test_a_space_has_limits_for_strangers(started, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "someone/gpt-lab")
    assert started()[0] == {"limits": SPACE}


def test_a_classroom_lets_the_network_in_and_says_where(started, capsys):
    made, launched = started("--classroom", "--port", "7899")
    assert made["limits"] == CLASSROOM
    assert made["join_address"] == f"http://{program.own_address()}:7899"
    assert made["join_address"] in capsys.readouterr().out
    assert (launched["server_name"], launched["server_port"], launched["auth"]) == ("0.0.0.0", 7899, None)


def test_a_password_lets_in_whoever_knows_it_under_any_name(started, monkeypatch):
    monkeypatch.setenv(program.PASSWORD_VARIABLE, "Fensterglas")
    _, launched = started("--classroom")
    lets_in = launched["auth"]
    assert lets_in("anna", "Fensterglas")
    assert lets_in("", "Fensterglas")
    assert not lets_in("anna", "fensterglas")
    assert not lets_in("anna", "")
    assert not lets_in("anna", "Fensterglas ")
    assert program.PASSWORD_VARIABLE not in os.environ  # nothing the page runs can read it there


def test_own_address_is_one():
    socket.inet_aton(socket.gethostbyname(program.own_address()))


def test_who_does_not_know_the_password_sees_nothing(models_folder: Path):
    page = program.create_demo(models_folder, limits=CLASSROOM, join_address="http://<b>192.0.2.7</b>:7860")
    with serve(page, auth=lambda _, given: given == "Fensterglas") as url, httpx.Client(base_url=url) as visitor:
        assert visitor.get("/config").status_code == 401
        assert "Join at" not in visitor.get("/").text
        assert visitor.post("/gradio_api/call/watch", json={"data": []}).status_code == 401
        assert visitor.post("/login", data={"username": "anna", "password": "wrong"}).status_code == 400
        assert visitor.get("/config").status_code == 401
        assert visitor.post("/login", data={"username": "anna", "password": "Fensterglas"}).status_code == 200
        components = visitor.get("/config").json()["components"]
        (bar,) = [one["props"] for one in components if one["props"].get("elem_id") == "link-bar"]
        assert bar["value"]["join"] == "http://<b>192.0.2.7</b>:7860"  # as text: the bar writes no HTML
