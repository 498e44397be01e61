"""How much visitors of the page may ask for: on a laptop, on a public Space, in a classroom, and everywhere."""

from __future__ import annotations

from dataclasses import dataclass, field

from gpt.costs.cores import usable_cores


@dataclass(frozen=True)
class Limits:
    """What visitors may ask for, checked before anything is allocated; the defaults are for a laptop.

    Attributes:
        cores: that trainings may keep busy, of all runs together.
        workers: runs trained at the same time, each in processes of its own, which share the cores.
        most_models: models in a run, counting seeds.
        most_steps: steps of a run.
        most_seconds: time a run may train.
        most_experiment_seconds: time an experiment may take.
        most_parameters: weights of one model.
        most_bytes: memory of all runs remembered and in training, by the formulas of `RunRequest`.
        most_tokens_per_step: batch size x context length.
        most_waiting: runs in the queue.
        most_kept: runs remembered in all.
        most_experiments: experiments remembered with their results.
        most_waiting_of_address: runs in the queue that were asked for from one address; a class may share one.
        lease_seconds: how long a run goes on when pages show it and none gives a sign.
        unwatched_seconds: how long a run goes on, or waits, when no page shows it.
        pages_of_address: pages open at one address.
        calls_of_page: calls of one page that are not answered yet.
        calls_of_address: the same, of all pages at one address.
        running_of_page: calls of one page that are answered at the same time by one function.
    """

    cores: int = field(default_factory=usable_cores)
    workers: int = field(default_factory=lambda: max(1, usable_cores() // 4))
    most_models: int = 6
    most_steps: int = 5000
    most_seconds: float = 1800.0
    most_experiment_seconds: float = 300.0
    most_parameters: int = 3_000_000
    most_bytes: int = 3_000_000_000
    most_tokens_per_step: int = 16_384
    most_waiting: int = 40
    most_kept: int = 100
    most_waiting_of_address: int = 32
    most_experiments: int = 200
    lease_seconds: float = 60.0
    unwatched_seconds: float = 8.0
    pages_of_address: int = 100
    calls_of_page: int = 24
    calls_of_address: int = 240
    running_of_page: int = 3


LAPTOP = Limits()

# Strangers share two slow cores: runs are shorter, so that the queue moves, and no address has more than half of the
# places, be it that of a class or of a vandal.
SPACE = Limits(
    most_models=4,
    most_steps=1500,
    most_seconds=600.0,
    most_tokens_per_step=8192,
    most_waiting_of_address=20,
    pages_of_address=60,
)

# Thirty people press Train in the same minute: runs are small and soon over, and everyone finds a place in the queue.
CLASSROOM = Limits(
    most_models=3,
    most_steps=1000,
    most_seconds=300.0,
    most_parameters=1_500_000,
    most_tokens_per_step=8192,
    most_waiting=80,
    most_waiting_of_address=64,
    most_kept=200,
)


# --- The same everywhere --------------------------------------------------------------------------------------------

LARGEST_UPLOAD = 16_000_000  # bytes of a file: the largest model that is trained here takes 12 million, in float32
MOST_FILES_AT_ONCE = 1  # in one upload
MOST_UPLOADS = 24  # checkpoints held in memory; the oldest is forgotten first
LARGEST_OWN_TEXT = 2_000_000  # characters to learn from
MOST_OWN_FILES = 200  # that such a text may be made of
LARGEST_REQUEST = 4 * LARGEST_OWN_TEXT + 200_000  # bytes: such a text, and the other controls
MOST_BYTES_UNDER_WAY = 64_000_000  # of all requests that are arriving or are taken in
MOST_BYTES_OF_CALLS = 64_000_000  # of all calls that are not answered yet
MOST_BYTES_OF_FILES = 160_000_000  # uploaded, or prepared to be taken home
MOST_FILE_SECONDS = 3600.0  # that such a file is kept at most
LONGEST_BEGINNING = 200  # characters whose continuation is guessed beside a chart
MOST_IDLE_SECONDS = 600.0  # after which a page that watches a paused run is let go

MOST_COMPARED = 4  # models side by side
LONGEST_PROMPT = 2000  # characters to continue
LONGEST_READING = 5000  # characters to be coloured by their surprise
MOST_NEW_TOKENS = 1000  # that each model writes
MOST_WRITING_SECONDS = 120.0

LONGEST_LOOK = 256  # tokens whose attention is shown; a larger map could not be read
MOST_LOOKS = 48  # held in memory; the oldest is forgotten first

MOST_TIMING_SECONDS = 30.0  # that a measurement on the Cost tab takes
LONGEST_TIMING_QUEUE = 24  # who may wait to measure
LARGEST_TIMED_WINDOW = 1024  # keys
MOST_CACHED_TOKENS = 300  # that each model writes while its cache is measured

MOST_SESSIONS = 200  # pages open at the same time
MOST_CALLS = 480  # of all pages, not answered yet

# How many calls of each kind are answered at the same time. All together are fewer than the threads, so that no kind
# keeps another waiting. Most streams and presses take no thread at all while they wait.
MOST_WATCHING = 160
MOST_WRITING = 64
MOST_MEASURING = 32
MOST_PRESSES = 32
MOST_PROBING = 2
MOST_OF_ANY_OTHER = 8
MOST_THREADS = 480
