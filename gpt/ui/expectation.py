"""What a model expects after a text: on the Train and on the Compare tab."""

from __future__ import annotations

import torch
from torch import Tensor

from gpt.model.gpt2 import evaluation_mode
from gpt.ui.catalogue import ReadyModel
from gpt.ui.limiter import COMPUTING


def next_logits(ready: ReadyModel, text: str) -> Tensor:
    """The model's logits for the token after a text, of which it reads what its context holds: (vocab_size,).

    Raises:
        ValueError: the text has characters that the model does not know.
    """
    ids = torch.tensor([ready.tokenizer.encode(text)])[:, -ready.model.config.context_length :]
    with COMPUTING, evaluation_mode(ready.model):
        return ready.model(ids)[0, -1]
