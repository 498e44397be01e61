"""Attackers against a real server on its defaults, while an honest visitor presses buttons and measures.

    python tests/reliability/strangers.py [--quick] [ROW ...]

Rows: privacy, login, listeners, calls, runs, bodies, files, hosts, passwords, pages. For each a server is started; an
honest visitor uses it alone for a while, then beside the attacker. Printed are what the attacker was answered, the
honest visitor's seconds until each press was answered, and the server's memory and disk before, at most, and when the
attacker has been gone for a while. Held to: every honest press is answered, within two seconds; no piece of a private
text is told; memory and disk come back to within ten percent.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from lab import controls, free_port, start

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import attackers
from attackers import Page, network, open_page

LONGEST_ANSWER = 2.0  # seconds
MOST_LEFT = 1.10  # times what there was before
PASSWORD = "open sesame"
SHIPPED = [f"shipped/{name}" for name in ("gpt2", "rotary", "sliding-window", "modern")]
HALF = b"POST /gradio_api/queue/join HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@dataclass
class Server:
    """A server under attack, and what it holds."""

    address: str
    process_id: int
    folder: Path
    most_megabytes: float = 0.0
    most_disk: float = 0.0
    is_over: threading.Event = field(default_factory=threading.Event)

    @property
    def megabytes(self) -> float:
        """Memory."""
        status = Path(f"/proc/{self.process_id}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))) / 1000

    @property
    def disk(self) -> float:
        """Megabytes of files in the temporary folder."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file()) / 1e6

    def look(self) -> None:
        """Note the most of both, until it is over."""
        while not self.is_over.wait(0.2):
            self.most_megabytes = max(self.most_megabytes, self.megabytes)
            self.most_disk = max(self.most_disk, self.disk)


@contextmanager
def served(**environment: str) -> Iterator[Server]:
    """A server in a process and with a temporary folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        process = start(port, environment={"TMPDIR": folder, "HOME": folder} | environment)
        server = Server(f"http://127.0.0.1:{port}", process.pid, Path(folder))
        looking = threading.Thread(target=server.look)
        looking.start()
        try:
            yield server
        finally:
            server.is_over.set()
            looking.join()
            process.terminate()
            process.wait(timeout=30)


def new_run(number: int) -> list[object]:
    """A short run that nobody has asked for yet; few of them, so that what they leave does not count."""
    return controls({"steps": 20, "seed": number % 10})


def endless_run(number: int) -> list[object]:
    """A run of its own for each number."""
    return controls({"steps": 3000, "seed": number, "size": "medium: 6 layers, 192 wide"})


Attack = Callable[[httpx.AsyncClient, dict[str, Any], Server], Awaitable[Any]]


async def measure(server: Server, attack: Attack, seconds: float) -> bool:
    """Run one attack beside an honest visitor; prints what came of it, and returns whether all that was asked held."""
    async with network(server.address) as browser, network(server.address) as other:
        page = await open_page(browser, "honest")
        await page.call("generate", SHIPPED, "The fox", True, 20)
        await attackers.be_honest(page, new_run, 15.0)  # alone: what is loaded at first is there then
        before = server.megabytes, server.disk
        server.most_megabytes = server.most_disk = 0.0
        honest = asyncio.create_task(attackers.be_honest(page, new_run, seconds))
        await asyncio.sleep(1.0)
        outcome = await attack(other, page.config, server)
        seen = await honest
    after = await settled(server, before)
    everything = sorted(second for kind in seen.seconds.values() for second in kind)
    print(f"  attacker: {outcome}")
    print(
        f"  honest: {len(everything)} presses, median {statistics.median(everything):.2f} s, longest "
        f"{seen.longest:.2f} s, {len(seen.refused)} refused {seen.refused[:2] or ''}"
    )
    print(
        f"  memory: {before[0]:.0f} MB before, {server.most_megabytes:.0f} at most, {after[0]:.0f} afterwards; "
        f"disk: {before[1]:.1f}, {server.most_disk:.1f}, {after[1]:.1f}"
    )
    is_back = after[0] <= MOST_LEFT * before[0] and after[1] <= MOST_LEFT * before[1] + 1
    return not seen.refused and seen.longest <= LONGEST_ANSWER and is_back


async def settled(server: Server, before: tuple[float, float], seconds: float = 90.0) -> tuple[float, float]:
    """What the server holds once it has come back, or after so long."""
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        now = server.megabytes, server.disk
        if now[0] <= MOST_LEFT * before[0] and now[1] <= MOST_LEFT * before[1] + 1:
            return now
        await asyncio.sleep(1.0)
    return server.megabytes, server.disk


# --- The rows ---------------------------------------------------------------------------------------------------------


async def privacy(server: Server) -> bool:
    """A stranger with the key of a run asks for everything."""
    own = controls({"text": "your own text", "own_text": attackers.PRIVATE_TEXT, "steps": 100})
    async with network(server.address) as browser:
        owner, stranger = await open_page(browser, "owner"), await open_page(browser, "stranger")
        watched = await owner.train(own)
        mine = (await owner.call("watch", watched)).text
        mine += (await owner.call("generate", [f"run/{watched.split()[0]}/0"], "My", True, 200)).text
        told, files = await attackers.ask_as_a_stranger(stranger, watched, own)
    print(
        f"  told to its owner: {attackers.gives_away(mine)}; to a stranger: {attackers.gives_away(told)}, in ", end=""
    )
    print(f"{len(told):,} characters of answers and {len(files)} files")
    return attackers.gives_away(mine) and not attackers.gives_away(told) and not files


async def login(server: Server) -> bool:
    """Everything is asked for without the password."""
    paths = (
        "/status",
        "/config",
        "/openapi.json",
        "/gradio_api/openapi.json",
        "/gradio_api/info",
        "/gradio_api/app_id",
    )
    async with network(server.address) as browser:
        statuses = {path: (await browser.get(path)).status_code for path in paths}
    print(f"  without the password: {statuses}")
    return all(status in (401, 404) for status in statuses.values())


async def listeners(browser: httpx.AsyncClient, config: dict[str, Any], server: Server) -> Any:
    """Watches of a paused run that nobody reads, from one page and from many."""
    page = Page(browser, config, "vandal")
    watched = await page.train(controls({"steps": 3000, "seed": 77}))
    await page.call("pause", page.secret, [], watched, 50)
    one = await attackers.many_calls(browser, config, 210, 1, "watch", watched)
    return one, await attackers.many_calls(browser, config, 210, 70, "watch", watched)


async def calls(browser: httpx.AsyncClient, config: dict[str, Any], server: Server) -> Any:
    """Attention and generation, from one page, from many, and by a program without one."""
    look = ("attention", SHIPPED[0], "", "To be, or not to be, that is the question. " * 4)
    write = ("generate", SHIPPED, "ROMEO:", True, 1000)
    seen = []
    for pages in (1, 90):
        seen.append(await attackers.many_calls(browser, config, 500, pages, *look))
        seen.append(await attackers.many_calls(browser, config, 100, pages, *write))
    return *seen, await attackers.many_calls_without_a_page(browser, 500, "attention", list(look[1:]))


async def runs(browser: httpx.AsyncClient, config: dict[str, Any], server: Server) -> Any:
    """Runs with secrets that are made up, from one page and from many."""
    one = await attackers.many_runs(browser, config, 60, 1, endless_run)
    return one, await attackers.many_runs(browser, config, 60, 60, lambda number: endless_run(1000 + number))


async def bodies(browser: httpx.AsyncClient, config: dict[str, Any], server: Server) -> Any:
    """Bodies of 200 MB, and requests of which half is sent, or a byte a second."""
    url = urlsplit(server.address)
    large = await attackers.large_bodies(browser, 4, 200)
    half, drip = await asyncio.gather(
        attackers.half_requests(str(url.hostname), url.port or 80, 300, 7, HALF + b"Content-Length: 1000\r\n\r\n{"),
        attackers.half_requests(str(url.hostname), url.port or 80, 50, 70, HALF + b"X: ", drip=True),
    )
    return large, f"{half} of 300 half requests closed after 7 s, {drip} of 50 that drip after 70 s"


async def files(browser: httpx.AsyncClient, config: dict[str, Any], server: Server) -> Any:
    """A thousand files at once, twenty large ones at once, many large ones one by one, and from a foreign page."""
    many, _ = await attackers.uploads(browser, 2, 1000, 10)
    large, _ = await attackers.uploads(browser, 2, 20, 7_900_000)
    single, _ = await attackers.uploads(browser, 60, 1, 7_900_000)
    foreign, _ = await attackers.uploads(browser, 5, 1, 100, origin="http://evil.example")
    return many, large, single, foreign


async def hosts(server: Server) -> bool:
    """Other names than the lab's own."""
    tried = [{"host": "evil.example"}, {"x-forwarded-host": "evil.example"}, {"host": "EVIL.example:7860."}]
    async with network(server.address) as browser:
        statuses = [(await browser.get("/", headers=headers)).status_code for headers in tried]
        own = [(await browser.get("/", headers={"host": host})).status_code for host in ("localhost", "127.0.0.1:1")]
    print(f"  other names: {statuses}, own names: {own}")
    return statuses == [400] * 3 and own == [200] * 2


async def passwords(server: Server) -> bool:
    """Sixty wrong passwords at once: how many were tried after ten seconds?"""
    async with network(server.address) as browser:
        tries = [
            asyncio.ensure_future(browser.post("/login", data={"username": "x", "password": f"{number}"}))
            for number in range(60)
        ]
        await asyncio.wait(tries, timeout=10)
        seen = Counter(one.result().status_code if one.done() else "still waiting" for one in tries)
        for one in tries:
            one.cancel()
    print(f"  after 10 s: {dict(seen)}")
    return seen[400] <= 20


async def pages(browser: httpx.AsyncClient, config: dict[str, Any], server: Server) -> Any:
    """Pages that are opened and closed."""
    for number in range(250):
        page = await open_page(browser, f"visitor{number}")
        await page.call("attention", SHIPPED[0], "", "To be, or not to be")
        async with browser.stream("GET", f"/gradio_api/heartbeat/{page.name}"):
            pass
    return "250 pages opened and closed"


BESIDE: dict[str, tuple[Attack, float]] = {
    "listeners": (listeners, 25.0),
    "calls": (calls, 40.0),
    "runs": (runs, 25.0),
    "bodies": (bodies, 80.0),
    "files": (files, 20.0),
    "pages": (pages, 60.0),
}
ALONE = {"privacy": privacy, "login": login, "hosts": hosts, "passwords": passwords}


def main() -> None:
    """Print what was measured; the status says whether all of it is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="only the rows that take less than half a minute")
    parser.add_argument("rows", nargs="*", metavar="ROW", choices=[*ALONE, *BESIDE, []])
    options = parser.parse_args()
    failed = []
    for row in options.rows or [*ALONE, *([] if options.quick else BESIDE)]:
        print(f"{row}: {(ALONE.get(row) or BESIDE[row][0]).__doc__}", flush=True)
        with served(**({"GPT_LAB_PASSWORD": PASSWORD} if row in ("login", "passwords") else {})) as server:
            held = asyncio.run(ALONE[row](server) if row in ALONE else measure(server, *BESIDE[row]))
        print("  OK" if held else "  NOT OK", flush=True)
        failed += [] if held else [row]
    if failed:
        raise SystemExit(f"not as it should be: {', '.join(failed)}")


if __name__ == "__main__":
    main()
