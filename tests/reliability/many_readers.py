"""Twenty-four readers of one engine who leave when they like: does each get the text it would get alone?

    python tests/reliability/many_readers.py [repeats]

The context of 40 is shorter than most texts, and Python is made to change threads every 5 ms down to every 20 us. Three
kinds of model: one with learned positions, whose texts have to be read again past the context; one that rolls for ever;
and one with a hook, which has to be called. Prints for each kind how many texts were asked for, failed, differed and
never ended: all three held to 0.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from gpt.generation import GenerationEngine, stream_tokens
from gpt.model.config import make_config
from gpt.model.gpt2 import GPT2

READERS = 24
SWITCH_INTERVALS = (5e-3, 5e-4, 1e-4, 2e-5)  # seconds
LONGEST_SECONDS = 60.0  # after which a reader who still waits is given up
_SIZE = {"embed_size": 32, "num_heads": 4, "hidden_size": 64, "num_layers": 2, "context_length": 40}
_SAMPLINGS: list[dict[str, Any]] = [
    {"temperature": 0},
    {"temperature": 1.5},
    {"temperature": 0.8, "top_k": 4},
    {"temperature": 1.1, "top_p": 0.7},
]


@dataclass
class Count:
    """Of the texts that were asked for."""

    texts: int = 0
    failed: int = 0
    differing: int = 0
    never_ended: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether all went well."""
        return self.failed == self.differing == self.never_ended == 0


def models() -> dict[str, GPT2]:
    """One of each kind, with weights far from their small initial values."""
    made = {
        "learned": GPT2.from_config(make_config("gpt2", 13, **_SIZE)),
        "rolling": GPT2.from_config(make_config("modern", 13, **_SIZE, window_size=6)),
        "hooked": GPT2.from_config(make_config("gpt2", 13, **_SIZE, positions="alibi")),
    }
    for model in made.values():
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in model.eval().parameters():
                noise = torch.empty(parameter.shape).normal_(0.0, 0.3, generator=generator)
                parameter.copy_(noise if parameter.ndim == 2 else parameter + noise)
    made["hooked"].blocks[0].register_forward_hook(lambda part, given, made: 1.1 * made)
    return made


class Classroom:
    """One model's readers: what each asks for, and what each would get alone."""

    def __init__(self, model: GPT2) -> None:
        self.model = model
        choose = random.Random(0)
        self.orders: list[tuple[torch.Tensor, dict[str, Any]]] = []
        for number in range(READERS):
            prompt = torch.tensor([[choose.randrange(13) for _ in range(choose.randint(1, 45))]])
            options = {"max_new_tokens": choose.randint(20, 60), "seed": number, **_SAMPLINGS[number % 4]}
            self.orders.append((prompt, options))
        self.alone = [[int(token) for token in stream_tokens(model, prompt, **to)] for prompt, to in self.orders]

    def read_at_once(self, seed: int, most_rows: int = 32) -> Count:
        """Let all read at once from a new engine; each leaves early with a chance of a third, closing or dropping."""
        engine, count, changing = GenerationEngine(self.model, most_rows), Count(), threading.Lock()
        barrier = threading.Barrier(READERS)

        def read(number: int) -> None:
            choose = random.Random(READERS * seed + number)
            prompt, options = self.orders[number]
            stops_after = choose.randrange(options["max_new_tokens"]) if choose.random() < 1 / 3 else None
            given: list[int] = []
            is_failed = False
            barrier.wait()
            try:
                stream = engine.stream(prompt, **options)
                for token in stream:
                    given.append(token)
                    if len(given) == stops_after:
                        if choose.random() < 1 / 2:
                            stream.close()
                        break
                del stream
            except Exception as error:
                is_failed = True
                print(f"  {type(error).__name__}: {error}", flush=True)
            expected = self.alone[number] if not stops_after else self.alone[number][:stops_after]
            with changing:
                count.failed += is_failed
                count.differing += not is_failed and given != expected

        threads = [threading.Thread(target=read, args=(number,), daemon=True) for number in range(READERS)]
        give_up = time.monotonic() + LONGEST_SECONDS
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=max(0.0, give_up - time.monotonic()))
        count.texts = READERS
        count.never_ended = sum(thread.is_alive() for thread in threads)
        return count


def read_repeatedly(classroom: Classroom, repeats: int) -> Count:
    """Let all read at once again and again, at switch intervals from 5 ms to 20 us, with rows for all or for some."""
    total, before = Count(), sys.getswitchinterval()
    try:
        for repeat in range(repeats):
            sys.setswitchinterval(SWITCH_INTERVALS[repeat % len(SWITCH_INTERVALS)])
            count = classroom.read_at_once(seed=repeat, most_rows=32 if repeat % 3 else 5)
            total.texts += count.texts
            total.failed += count.failed
            total.differing += count.differing
            total.never_ended += count.never_ended
    finally:
        sys.setswitchinterval(before)
    return total


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    print(f"{'model':10}{'texts':>8}{'failed':>8}{'differing':>11}{'never ended':>13}{'seconds':>9}")
    for name, model in models().items():
        classroom, started = Classroom(model), time.monotonic()
        count = read_repeatedly(classroom, repeats)
        seconds = time.monotonic() - started
        print(
            f"{name:10}{count.texts:8}{count.failed:8}{count.differing:11}{count.never_ended:13}{seconds:9.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
