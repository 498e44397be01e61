"""The page: its frame, and one tab after another."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gpt.checkpoints.listing import TRAINED_MODELS
from gpt.runs.limits import LARGEST_UPLOAD, MOST_SESSIONS, MOST_THREADS, Limits
from gpt.runs.scheduler import Runs
from gpt.ui import address, links
from gpt.ui.attention.tab import build_attention_tab
from gpt.ui.catalogue import Catalogue
from gpt.ui.compare.tab import build_compare_tab
from gpt.ui.components import SCRIPTS, module_text, modules_of
from gpt.ui.components.glossary import glossary
from gpt.ui.components.projector import projector
from gpt.ui.cost.tab import build_cost_tab
from gpt.ui.door.door import Door
from gpt.ui.door.files import files_of_process
from gpt.ui.door.hosts import trust_proxies, trusted_hosts
from gpt.ui.experiments.tab import build_experiments_tab
from gpt.ui.glossary import glossary_value
from gpt.ui.listening import bypass_proxies, check_address, starting
from gpt.ui.status import add_status_page, class_sentence
from gpt.ui.theme import page_theme, stylesheet
from gpt.ui.train.handlers import SECONDS_BETWEEN_UPDATES
from gpt.ui.train.tab import build_train_tab

_FIRST_COMPONENTS = ("loss_chart", "run_panel", "diagnostics")  # what there is to see when the page opens
_SCRIPTS = (
    *(Path(__file__).with_name(f"{name}.js") for name in ("messages", "stream_guard", "focus_guard", "control_names")),
    links.SCRIPT,
)
_log = logging.getLogger(__name__)


def create_demo(
    models_folder: Path = TRAINED_MODELS, limits: Limits | None = None, join_address: str | None = None
) -> gr.Blocks:
    """Build the page; `launch` shows it.

    Args:
        models_folder: where the checkpoints lie that ship with the lab.
        limits: what visitors may ask for.
        join_address: shown at the top, for those who are to join.
    """
    runs = Runs(limits)
    atexit.register(runs.close)  # a trainer in the middle of a step would otherwise bring the process down
    door = Door(runs, files_of_process())
    catalogue = Catalogue(models_folder, runs, door.visitors)

    # The page calls this by itself, with one object.
    def class_news(sent: Any) -> str:
        return class_sentence(runs, sent.get("run") if isinstance(sent, dict) else None)

    with gr.Blocks(title="GPT Lab", analytics_enabled=False) as demo:
        with gr.Row(elem_id="frame"):
            gr.HTML(
                "<h1>GPT Lab</h1><p>Train small GPTs, compare what they write, and see what they attend to.</p>",
                elem_id="title",
            )
            glossary(glossary_value(), elem_id="words")
            bar = links.build_link_bar(join_address or "")
        projector(elem_id="projector", server_functions=[class_news])
        secret = gr.BrowserState("", storage_key="gpt-lab-visitor", secret="gpt-lab")
        names = gr.BrowserState({}, storage_key="gpt-lab-names", secret="gpt-lab")
        seen = gr.State([])
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Train", id="train"):
                in_train = build_train_tab(demo, runs, catalogue, door, secret, seen, names, bar)
            with gr.Tab("Compare", id="compare") as compare:
                in_compare = build_compare_tab(compare, catalogue, seen)
            with gr.Tab("Attention", id="attention") as attention:
                in_attention = build_attention_tab(attention, catalogue, door.files, seen)
            with gr.Tab("Cost", id="cost") as cost:
                in_cost = build_cost_tab(cost, catalogue, seen)
            with gr.Tab("Experiments", id="experiments"):
                in_experiments = build_experiments_tab(demo, runs, door, secret, bar)
        in_tabs = dict(zip(address.TABS, (in_train, in_compare, in_attention, in_cost, in_experiments), strict=True))
        links.connect_links(demo, bar, names, catalogue, in_tabs, join_address or "")
    door.line_up(demo)
    demo.space_id = None  # the page of a Space would ask Google and Hugging Face for what it shows above itself
    demo.runs, demo.door = runs, door  # for `launch`
    return demo


def launch(demo: gr.Blocks, *, keeps_runs: bool = False, more_hosts: Sequence[str] = (), **options: Any) -> Any:
    """Show the page, with the settings this lab needs, until the process is told to end.

    PyTorch takes longer to load than all the rest, so that is left until the page answers.

    Args:
        demo: the page, as `create_demo` built it.
        keeps_runs: whether runs under way outlast a restart on the same port, in the user's cache folder.
        more_hosts: names by which the lab may be called, beside this machine's own.
        options: go to `gr.Blocks.launch`; with `prevent_thread_lock` the page is left open and this returns at once.

    Raises:
        CannotListen: the host or the port cannot be had.
    """
    check_address(options.get("server_name"), options.get("server_port"))
    bypass_proxies(options.get("server_name"))
    returns_at_once = options.pop("prevent_thread_lock", False)
    runs: Runs = demo.runs  # type: ignore[attr-defined]
    door: Door = demo.door  # type: ignore[attr-defined]
    is_shared = bool(options.get("share"))
    hosts = trusted_hosts([*more_hosts, options.get("server_name")], is_shared=is_shared)
    trust_proxies(is_shared=is_shared)
    with starting(options.get("server_port")):
        shown = demo.launch(
            prevent_thread_lock=True,
            theme=page_theme(),
            css=stylesheet(),
            head="".join(f"<script>{script.read_text(encoding='utf-8')}</script>" for script in _SCRIPTS),
            footer_links=[],
            run_history=False,  # it would keep each visitor's runs in the browser, on shared machines too
            max_threads=MOST_THREADS,  # of all running events together
            state_session_capacity=MOST_SESSIONS,
            enable_monitoring=False,
            show_error=False,  # what is not meant for visitors stays in the log
            max_file_size=LARGEST_UPLOAD,
            ssr_mode=False,
            pwa=False,
            _frontend=False,  # it would give up where the page takes three seconds; that the server answers is known
            app_kwargs={"middleware": door.middleware(hosts, _first_scripts()), "openapi_url": None},
            **options,
        )
    door.stand_before(demo)
    add_status_page(demo, runs)
    demo.app.router.routes.insert(0, Route(f"/{SCRIPTS}/{{name}}", _script))
    archive = _archive(demo.server_port) if keeps_runs else None
    runs.warm_up(archive)
    if not returns_at_once:
        _wait_for_the_end(demo)
        runs.close(archive)
        time.sleep(3 * SECONDS_BETWEEN_UPDATES)  # so that those who watch are told
        demo.server.force_exit = True  # streams that are still open would hold it for seconds
        logging.getLogger("uvicorn.error").disabled = True  # nor does anyone want to read that they were cut off
        demo.close(verbose=False)
    return shown


def _first_scripts() -> list[str]:
    return [f"{SCRIPTS}/{name}" for name in modules_of(_FIRST_COMPONENTS)]


async def _script(request: Request) -> Response:
    """A component's script: one of those made here, by its name."""
    text = module_text(request.path_params["name"])
    if text is None:
        return PlainTextResponse("There is no such script; reload the page.", 404)
    return Response(text, media_type="text/javascript")


def _archive(port: int) -> Path:
    import pooch  # slow to import, and the page is there by now

    folder = Path(pooch.os_cache("gpt-lab"), "runs", str(port))
    first = next(place for place in (folder, *folder.parents) if place.exists())
    if not os.access(first, os.W_OK):
        _log.warning("runs under way will end with this server: %s may not be written", first)
    return folder


def _wait_for_the_end(demo: gr.Blocks) -> None:
    """Return on Ctrl-C and on what a system sends a process that is to end; a second time ends it at once."""

    def end(*_: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        ended.set()

    ended = threading.Event()
    for kind in (signal.SIGTERM, signal.SIGINT):
        signal.signal(kind, end)
    while demo.is_running and not ended.wait(timeout=0.2):  # with a timeout, so that signals are heard on Windows
        pass
