"""The page for those who run the server, at /status: what is trained, who waits, and how much memory is taken."""

from __future__ import annotations

import time
from typing import Any

import gradio as gr
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from gpt.runs.job import Job
from gpt.runs.scheduler import Runs

_SECONDS_BETWEEN_LOOKS = 5


def add_status_page(demo: gr.Blocks, runs: Runs) -> None:
    """Answer /status on a page that has been launched.

    It tells numbers only, no texts and no names of runs, because everyone who reaches the server may read it; where the
    lab has a password, it is behind that.
    """

    async def answer(_: Request) -> HTMLResponse:
        return HTMLResponse(status_page(runs))

    demo.app.router.routes.insert(0, Route("/status", answer))  # before Gradio's own, which answers to any name


def _layout(run: Job) -> str:
    processes, threads = run.layout
    if not processes:
        return ""
    return f"{processes} process{'es' * (processes > 1)} of {threads} thread{'s' * (threads > 1)}"


def class_sentence(runs: Runs, key: Any) -> str:
    """For a teacher before a class: how many pages watch the run of that key, and how many runs are made and wait."""
    run = runs.find(key) if isinstance(key, str) else None
    every = list(runs.all_runs())
    watchers = 0 if run is None else run.lease.watchers
    waiting = sum(one.state == "waiting" for one in every)
    parts = [
        *([f"watched on {_counted(watchers, 'screen')}"] if watchers else []),
        f"{_counted(sum(one.state == 'running' for one in every), 'run')} in training",
        f"{waiting} in the queue" if waiting else "nobody waits",
    ]
    return " · ".join(parts)


def _counted(number: int, thing: str) -> str:
    return f"{number or 'no'} {thing}{'s' * (number != 1)}"


def status_page(runs: Runs) -> str:
    """The page as HTML, which reloads itself."""
    every = list(runs.all_runs())
    now = time.monotonic()
    numbers = [
        ("runs in training", sum(run.state == "running" for run in every)),
        ("runs in the queue", sum(run.state == "waiting" for run in every)),
        ("runs paused", sum(run.state == "paused" for run in every)),
        ("runs remembered", len(every)),
        ("experiments in the queue or being made", len(runs.inquiries.under_way())),
        ("runs watched in the last minute", sum(now - run.lease.last_sign < 60 for run in every)),
        ("visitors with a run under way", len({run.owner for run in every if not run.is_over})),
        ("cores for training", runs.limits.cores),
        ("runs trained at the same time, at most", runs.limits.workers),
        ("memory of runs, by formula", f"{runs.bytes_of_runs() / 1e6:,.0f} MB"),
        ("of at most", f"{runs.limits.most_bytes / 1e6:,.0f} MB"),
    ]
    rows = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in numbers)
    under_way = "".join(
        f"<tr><td>{run.state}</td><td>{run.step:,} of {run.request.training.max_steps:,} steps</td>"
        f"<td>{len(run.members)} models</td><td>{_layout(run)}</td></tr>"
        for run in every
        if not run.is_over
    ) + "".join(
        f"<tr><td>{one.state}</td><td>experiment, {one.share:.0%} done</td><td></td><td>{_layout(one)}</td></tr>"
        for one in runs.inquiries.under_way()
    )
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>GPT Lab: status</title>"
        f"<meta http-equiv='refresh' content='{_SECONDS_BETWEEN_LOOKS}'>"
        f"<style>:root {{ color-scheme: light dark }} body {{ font: 1rem/1.5 system-ui; margin: 2rem }}"
        f" th, td {{ text-align: left; padding: 0 1.5rem 0 0; font-variant-numeric: tabular-nums }}</style>"
        f"<h1>GPT Lab: status</h1><table>{rows}</table><h2>Under way</h2><table>{under_way}</table></html>"
    )
