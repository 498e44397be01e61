"""Opens GPT Lab in the browser: `python demo.py`, or `gpt-lab demo` where it is installed."""

from __future__ import annotations

import argparse
import hmac
import logging
import os
import socket
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from gpt.runs.limits import CLASSROOM, LAPTOP, SPACE
from gpt.terminal import sentence
from gpt.ui.app import create_demo, launch
from gpt.ui.listening import CannotListen
from gpt.ui.zero_gpu import register_with_zero_gpu

PASSWORD_VARIABLE = "GPT_LAB_PASSWORD"
_MCP_PACKAGE = f"'gradio[mcp]=={version('gradio')}'"


def main(arguments: Sequence[str] | None = None, called: str | None = None) -> int:
    """Read the options and show the page until it is stopped; returns the exit status.

    Args:
        arguments: the options; None takes those of the command line.
        called: how the program was called, for its help; None takes that from the command line, too.
    """
    parser = argparse.ArgumentParser(
        prog=called,
        description="Open GPT Lab in the browser.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--host", help="address to listen on; 0.0.0.0 lets other machines in (default: this machine)")
    parser.add_argument("--port", type=int, help="port to listen on (default: the first free one from 7860)")
    parser.add_argument("--share", action="store_true", help="also make a public link, through Gradio's servers")
    parser.add_argument(
        "--classroom",
        action="store_true",
        help="let a class on the same network in: listens on all addresses, keeps runs small, shows where to join; "
        f"with a password in the environment variable {PASSWORD_VARIABLE}, only those who know it (any user name)",
    )
    parser.add_argument(
        "--mcp",
        action="store_true",
        help=f"also answer programs that speak the Model Context Protocol, at /gradio_api/mcp/; needs {_MCP_PACKAGE}",
    )
    options = parser.parse_args(arguments)
    register_with_zero_gpu()
    logging.basicConfig(format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("gpt").setLevel(logging.INFO)  # runs by their keys: no visitor's text, and nobody's name
    password = os.environ.pop(PASSWORD_VARIABLE, "")
    if options.mcp and password:
        parser.error("--mcp has no login; leave it out, or the password")
    if options.mcp and find_spec("mcp") is None:
        parser.error(f"--mcp needs a package that is not installed; `pip install {_MCP_PACKAGE}` brings it")
    shown: dict[str, Any] = {"limits": SPACE if "SPACE_ID" in os.environ else LAPTOP}
    host, port = options.host, options.port
    if options.classroom:
        host, port = host or "0.0.0.0", port or 7860
        address = f"http://{own_address()}:{port}"
        print(f"Join at {address}\nStatus at {address}/status")
        shown = {"limits": CLASSROOM, "join_address": address}
    try:
        demo = create_demo(**shown)
    except OSError as error:
        parser.error(
            f"there is no place for temporary files ({sentence(error)}); name a folder that may be written in the "
            f"environment variable GRADIO_TEMP_DIR"
        )
    more: dict[str, Any] = {"mcp_server": True} if options.mcp else {}
    try:
        launch(
            demo,
            server_name=host,
            server_port=port,
            share=options.share,
            keeps_runs=True,
            auth=(lambda _, given: hmac.compare_digest(given.encode(), password.encode())) if password else None,
            **more,
        )
    except CannotListen as error:
        parser.error(str(error))
    return 0


def own_address() -> str:
    """The address of this machine on the local network, as far as it can tell; nothing is sent to find out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address kept for documentation: the system only picks a way to it
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
