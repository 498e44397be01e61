"""Models as folders of files that people and programs can read, and none that runs code."""

from typing import TYPE_CHECKING

from gpt.lazy import face

if TYPE_CHECKING:
    from gpt.checkpoints.files import CheckpointError
    from gpt.checkpoints.folder import Checkpoint, load_checkpoint, load_snapshot, save_checkpoint
    from gpt.checkpoints.listing import TRAINED_MODELS, list_checkpoints
    from gpt.checkpoints.pretrained import PretrainedUnavailable, load_pretrained
    from gpt.checkpoints.upload import load_checkpoint_zip

__getattr__, __dir__, __all__ = face(__name__)
