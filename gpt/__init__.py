"""A small and exact library of GPT architectures: the names below are all that is public.

Names, and the modules they come from, are loaded when they are first used. So `import gpt` costs next to nothing, and
the page can be shown before PyTorch is there.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpt import (
        ablation,
        batching,
        checkpoint,
        corpus,
        exports,
        generation,
        model,
        plots,
        pretrained,
        probes,
        trainer,
        ui,
        uploads,
    )
    from gpt.attention import GroupQueryAttention, MultiHeadSelfAttention, SlidingWindowAttention
    from gpt.cache import KVCache
    from gpt.checkpoint import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint
    from gpt.config import VARIANTS, GPTConfig
    from gpt.corpus import CORPORA, Corpus, CorpusUnavailable, load_corpus
    from gpt.folders import list_checkpoints
    from gpt.generation import stream_text, stream_tokens
    from gpt.layers import GPT2Block, GPT2LayerNorm, GPT2OutputLayer, PositionWiseFeedForward, TransformerBlock
    from gpt.masks import attention_mask
    from gpt.model import GPT2
    from gpt.positions import RotaryPositionalEncoding
    from gpt.pretrained import PretrainedUnavailable, load_pretrained
    from gpt.probes import attention_maps
    from gpt.recipes import RECIPES, TrainConfig
    from gpt.tokenizer import BPETokenizer, CharTokenizer, Tokenizer
    from gpt.trainer import Trainer, TrainEvent, TrainingDiverged, evaluate, train

# Which module each public name comes from.
_ROOM_OF = {
    "GroupQueryAttention": "attention",
    "MultiHeadSelfAttention": "attention",
    "SlidingWindowAttention": "attention",
    "KVCache": "cache",
    "Checkpoint": "checkpoint",
    "CheckpointError": "checkpoint",
    "list_checkpoints": "folders",
    "load_checkpoint": "checkpoint",
    "save_checkpoint": "checkpoint",
    "GPTConfig": "config",
    "VARIANTS": "config",
    "CORPORA": "corpus",
    "Corpus": "corpus",
    "CorpusUnavailable": "corpus",
    "load_corpus": "corpus",
    "stream_text": "generation",
    "stream_tokens": "generation",
    "GPT2Block": "layers",
    "GPT2LayerNorm": "layers",
    "GPT2OutputLayer": "layers",
    "PositionWiseFeedForward": "layers",
    "TransformerBlock": "layers",
    "attention_mask": "masks",
    "GPT2": "model",
    "RotaryPositionalEncoding": "positions",
    "PretrainedUnavailable": "pretrained",
    "load_pretrained": "pretrained",
    "attention_maps": "probes",
    "RECIPES": "recipes",
    "TrainConfig": "recipes",
    "BPETokenizer": "tokenizer",
    "CharTokenizer": "tokenizer",
    "Tokenizer": "tokenizer",
    "TrainEvent": "trainer",
    "Trainer": "trainer",
    "TrainingDiverged": "trainer",
    "evaluate": "trainer",
    "train": "trainer",
}

__all__ = sorted(_ROOM_OF)


def __getattr__(name: str) -> Any:
    """A public name or a module of this package, the first time it is asked for."""
    if name in _ROOM_OF:
        value = getattr(import_module(f"gpt.{_ROOM_OF[name]}"), name)
        globals()[name] = value
        return value
    try:
        return import_module(f"gpt.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"gpt.{name}":
            raise
        raise AttributeError(f"module 'gpt' has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return __all__
