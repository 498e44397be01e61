"""The page as a Space runs it, and every tab of it used once.

    python tests/reliability/as_a_space.py [--port N] [--screenshots FOLDER] [--without-home]

For Linux, as root: the lab runs as the user `nobody`, from a copy of the repository that belongs to root and that
nobody may write, with a home and a temporary folder as the only places of its own, in a network that ends at this
machine, with 16 GB of address space for each process, and with the variables that a Space sets. A browser then trains,
compares, looks at attention, makes an experiment and measures. Prints what it saw, what the lab wrote and where, and
what it logged; ends with status 1 where a tab did not do its work. Without a home, the lab may write in its temporary
folder only.

In a virtual environment that others may not read, the lab runs with the system's Python of the same version, if there
is one, and the packages of this environment.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "tests"))

from playwright.sync_api import expect, sync_playwright
from visitor import DEVICES, FLAGS, Visitor, Witness, find_chromium

INSIDE = "GPT_LAB_IN_ITS_OWN_NETWORK"
NOBODY = 65534
MEMORY = 16 * 2**30
PATIENCE = 180_000  # milliseconds: Spaces, too, share slow cores


def main() -> int:
    """Start the lab, use it, and print what was seen; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--screenshots", type=Path)
    parser.add_argument("--without-home", action="store_true", help="let it write nothing in its home either")
    options = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("this needs root, which makes the network and the user; run it in a container")
    if INSIDE not in os.environ:
        alone = ["unshare", "--net", sys.executable, __file__, *sys.argv[1:]]
        if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0:
            return subprocess.run(alone, env={**os.environ, INSIDE: "1"}, check=False).returncode
        print("no network of its own can be made here: proxies that refuse stand in for it")
    else:
        bring_up_loopback()
    with tempfile.TemporaryDirectory(prefix="as-a-space-") as place:
        os.chmod(place, 0o755)
        return run(Path(place), options)


def bring_up_loopback() -> None:
    """Have this network reach this machine, and nothing else."""
    import fcntl
    import socket
    import struct

    set_flags, up = 0x8914, 1
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sh", b"lo", up))


def run(place: Path, options: argparse.Namespace) -> int:
    """Do all that below a folder; returns the exit status."""
    repository, home, temporary = (place / name for name in ("app", "home", "tmp"))
    copy_read_only(repository)
    for own in (home, temporary):
        own.mkdir()
        if own == temporary or not options.without_home:
            os.chown(own, NOBODY, NOBODY)
    with served(repository, home, temporary, options.port) as (address, log, started):
        print(f"the page answered after {started:.1f} s")
        outcomes = use(address, options.screenshots)
        before_end = written_below(home, temporary)
    print("written:", *(f"    {line}" for line in before_end), sep="\n")
    changed = [str(path) for path in repository.rglob("*") if path.name == "__pycache__"]
    print(f"written into the repository: {changed or 'nothing'}")
    print("logged:", *(f"    {line}" for line in log.read_text(errors="replace").splitlines()[-40:]), sep="\n")
    print(*(f"{name}: {what}" for name, what in outcomes.items()), sep="\n")
    return int(any(what.startswith("FAILED") for what in outcomes.values()))


def copy_read_only(target: Path) -> None:
    """The files that git knows or would, as root's, and not to be written by anybody."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in filter(None, names.split("\0")):
        if (PROJECT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT / name, target / name)
            os.chmod(target / name, 0o444)
    for folder in (target, *(path for path in target.rglob("*") if path.is_dir())):
        os.chmod(folder, 0o555)


@contextmanager
def served(repository: Path, home: Path, temporary: Path, port: int) -> Iterator[tuple[str, Path, float]]:
    """The lab's address, its log, and the seconds until its page answered."""
    interpreter, more = interpreter_for_nobody()
    refusing = {} if INSIDE in os.environ else dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "LANG": "C.UTF-8",
        "SYSTEM": "spaces",
        "SPACE_ID": "someone/gpt-lab",
        "SPACE_HOST": "someone-gpt-lab.hf.space",
        "GRADIO_SSR_MODE": "True",
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_SERVER_PORT": str(port),
        **more,
        **refusing,
    }
    log = temporary.parent / "log.txt"
    begun = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*as_nobody(), interpreter, "demo.py"],
            cwd=repository,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
        )
    address = f"http://127.0.0.1:{port}"
    try:
        while not answers(address):
            if process.poll() is not None or time.monotonic() - begun > 300:
                raise SystemExit(f"the page did not start:\n{log.read_text(errors='replace')}")
            time.sleep(0.2)
        yield address, log, time.monotonic() - begun
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def as_nobody() -> list[str]:
    """What makes a command one of an ordinary user; `env` is the first that is found by their rights alone."""
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs", "env"]


def interpreter_for_nobody() -> tuple[str, dict[str, str]]:
    """A Python that such a user may run, and the variables with which it finds this one's packages."""
    packages = {"PYTHONPATH": next(path for path in sys.path if path.endswith("site-packages"))}
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for interpreter, more in ((sys.executable, {}), (shutil.which(version, path="/usr/bin:/usr/local/bin"), packages)):
        if interpreter:
            tried = subprocess.run(
                [*as_nobody(), interpreter, "-c", "import gradio"],
                capture_output=True,
                check=False,
                cwd="/",
                env={"HOME": "/nonexistent", "PATH": os.defpath, **more},
            )
            if tried.returncode == 0:
                return interpreter, more
    raise SystemExit(f"an ordinary user can run neither {sys.executable} nor a {version} of the system")


def answers(address: str) -> bool:
    """Whether the page is there."""
    try:
        return urllib.request.urlopen(address, timeout=10).status == 200
    except OSError:
        return False


def written_below(*folders: Path) -> list[str]:
    """The files in some folders, those of one folder of many summed up."""
    found: dict[Path, list[int]] = {}
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                found.setdefault(path.parent.relative_to(folder.parent), []).append(path.stat().st_size)
    return [f"{folder}: {len(sizes)} files, {sum(sizes):,} bytes" for folder, sizes in sorted(found.items())]


# --- The visitor ----------------------------------------------------------------------------------------------------


def use(address: str, screenshots: Path | None) -> dict[str, str]:
    """Use every tab; what came of each, by its name."""
    chromium = find_chromium()
    if chromium is None:
        raise SystemExit("there is no Chromium here; install one, or name it in GPT_LAB_CHROMIUM")
    if screenshots:
        screenshots.mkdir(parents=True, exist_ok=True)
    outcomes: dict[str, str] = {}
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(**DEVICES["desk-light"], locale="en-GB")
        page.set_default_timeout(PATIENCE)
        witness = Witness(page, address)
        visitor = Visitor(page, witness, "space", screenshots)
        page.goto(address)
        for act in (opens, trains_without_network, compares, looks, measures, experiments):
            outcomes[act.__name__.replace("_", " ")] = outcome(act, visitor)
        outcomes["what the browser saw"] = "; ".join(witness.faults) or "no error, and no request to another host"
        browser.close()
    return outcomes


def outcome(act: Callable[[Visitor], str], visitor: Visitor) -> str:
    """What an act returns, in how many seconds, or how it failed."""
    begun = time.monotonic()
    try:
        told = act(visitor)
        visitor.looks_around(act.__name__)
    except (AssertionError, Exception) as error:  # the next tab is still of interest
        return f"FAILED: {' '.join(str(error).split())[:400]}"
    return f"{told} ({time.monotonic() - begun:.1f} s)"


def opens(visitor: Visitor) -> str:
    """The curves of the models that ship are drawn, and the limits are a Space's."""
    expect(visitor.page.locator(".loss-chart path.validation[d^=M]").first).to_be_attached()
    expect(visitor.sentence).to_contain_text("the models that ship")
    return visitor.sentence.inner_text()


def trains_without_network(visitor: Visitor) -> str:
    """Tiny Shakespeare cannot be fetched here; one sentence says so, and which text takes its place."""
    visitor.chooses("Size", "tiny: 2 layers, 64 wide")
    visitor.sets("Steps", 20)
    visitor.presses("Train")
    said = visitor.page.get_by_text(re.compile("Tiny Shakespeare c.*Training on python-docs instead")).first
    expect(said).to_be_visible()
    expect(visitor.sentence).to_have_text(re.compile("^Done: 20 steps, "))
    return f"{visitor.sentence.inner_text()} {said.inner_text()}"


def compares(visitor: Visitor) -> str:
    """Models that ship and models of the run write."""
    visitor.opens("Compare")
    visitor.presses("Generate")
    texts = visitor.page.locator("#columns .column .text")
    expect(texts.last).to_have_text(re.compile(".{100}", re.DOTALL))
    return f"{texts.count()} columns, {[len(text) for text in texts.all_inner_texts()]} characters"


def looks(visitor: Visitor) -> str:
    """A map is painted."""
    visitor.opens("Attention")
    expect(visitor.page.locator("#attention-map [data-painted]").first).to_be_attached()
    return f"{visitor.page.locator('#attention-map .thumbnail').count()} heads"


def experiments(visitor: Visitor) -> str:
    """The shortest experiment there is, to its answer."""
    visitor.page.goto(f"{visitor.page.url.partition('?')[0]}?tab=experiments&experiment=sampling")
    visitor.presses("Just show me")
    board = visitor.page.locator(".experiment-board")
    answer = board.locator(".sentences p").first
    expect(answer).to_contain_text("different words", timeout=600_000)
    return answer.inner_text()


def measures(visitor: Visitor) -> str:
    """The times of attention are measured."""
    visitor.opens("Cost")
    visitor.chooses("Longest text", "512")
    visitor.presses("Measure")
    status = visitor.page.locator("#time-chart .status")
    expect(status).to_have_text(re.compile("^(Done|Ended)"))
    return status.inner_text()


if __name__ == "__main__":
    sys.exit(main())
