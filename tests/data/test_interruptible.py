"""Work that hears no Ctrl-C is interrupted all the same."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gpt.data.interruptible import interruptibly

ROOT = Path(__file__).resolve().parents[2]
LEARNING = """
import random, signal, threading
from gpt.data import tokenizer
tokenizer.cut_long_words = lambda text: [text]  # so that it is done after a quarter of an hour
def texts():
    yield "".join(random.Random(0).choices("ACGT", k=1_000_000))
    threading.Timer(0.5, signal.raise_signal, [signal.SIGINT]).start()
try:
    tokenizer.BPETokenizer.from_texts(texts(), 4096)
except KeyboardInterrupt:
    print("heard", flush=True)
"""


def test_learning_hears_ctrl_c():
    done = subprocess.run([sys.executable, "-c", LEARNING], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("heard\n", "", 0)


def test_what_reads_bit_by_bit_ends_when_nobody_waits():
    reached, go_on, ended = threading.Event(), threading.Event(), []

    def numbers():
        yield 1
        signal.raise_signal(signal.SIGINT)  # heard by the main thread
        reached.set()
        go_on.wait(30)
        yield 2

    def work(while_wanted):
        try:
            return list(while_wanted(numbers()))
        finally:
            ended.append(threading.current_thread())

    with pytest.raises(KeyboardInterrupt):
        interruptibly(work)
    assert reached.wait(30)
    go_on.set()
    while not ended:
        pass
    ended[0].join(30)
    assert not ended[0].is_alive()


def test_results_and_errors_are_those_of_the_work():
    assert interruptibly(lambda while_wanted: sum(while_wanted(range(4)))) == 6
    with pytest.raises(ZeroDivisionError):
        interruptibly(lambda _: 1 / 0)
