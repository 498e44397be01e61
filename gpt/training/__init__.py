"""The training loop, and what it stands on: recipes, optimizers, evaluation, and several processes as one.

Training is a generator of events: a command line prints them, a run stores them, a test lists them.
"""

from typing import TYPE_CHECKING

from gpt.lazy import face

if TYPE_CHECKING:
    from gpt.training.distributed import join
    from gpt.training.evaluation import evaluate
    from gpt.training.recipes import RECIPES, TrainConfig
    from gpt.training.recording import Recording
    from gpt.training.state import TrainEvent
    from gpt.training.trainer import Trainer, TrainingDiverged, train

__getattr__, __dir__, __all__ = face(__name__)
