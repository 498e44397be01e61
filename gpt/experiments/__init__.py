"""Experiments: a question, a prediction, a run, and an answer that was measured.

`questions` holds the words of all of them: what is asked, what may be predicted, what can be changed. Each experiment
is a file of its own: its frozen setup, the function that runs it, and the sentences that its numbers fill in. What
comes out is a `Result`, which `figure` draws for files. `conduct` runs one by its name.
"""

from typing import TYPE_CHECKING

from gpt.lazy import face

if TYPE_CHECKING:
    from gpt.experiments.conduct import conduct, make_setup
    from gpt.experiments.questions import QUESTIONS, Question
    from gpt.experiments.result import Chart, Curve, Measure, Progress, Result

__getattr__, __dir__, __all__ = face(__name__)
