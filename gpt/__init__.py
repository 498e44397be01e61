"""A small and exact library of GPT architectures: the names below are all that is public."""

from gpt.attention import GroupQueryAttention, MultiHeadSelfAttention, SlidingWindowAttention
from gpt.cache import KVCache
from gpt.checkpoint import Checkpoint, CheckpointError, list_checkpoints, load_checkpoint, save_checkpoint
from gpt.config import VARIANTS, GPTConfig
from gpt.corpus import CORPORA, Corpus, CorpusUnavailable, load_corpus
from gpt.generation import stream_text, stream_tokens
from gpt.layers import GPT2Block, GPT2LayerNorm, GPT2OutputLayer, PositionWiseFeedForward, TransformerBlock
from gpt.masks import attention_mask
from gpt.model import GPT2
from gpt.positions import RotaryPositionalEncoding
from gpt.pretrained import PretrainedUnavailable, load_pretrained
from gpt.probes import attention_maps
from gpt.recipes import RECIPES
from gpt.tokenizer import BPETokenizer, CharTokenizer, Tokenizer
from gpt.trainer import TrainConfig, Trainer, TrainEvent, TrainingDiverged, evaluate, train

__all__ = [
    "CORPORA",
    "GPT2",
    "RECIPES",
    "VARIANTS",
    "BPETokenizer",
    "CharTokenizer",
    "Checkpoint",
    "CheckpointError",
    "Corpus",
    "CorpusUnavailable",
    "GPT2Block",
    "GPT2LayerNorm",
    "GPT2OutputLayer",
    "GPTConfig",
    "GroupQueryAttention",
    "KVCache",
    "MultiHeadSelfAttention",
    "PositionWiseFeedForward",
    "PretrainedUnavailable",
    "RotaryPositionalEncoding",
    "SlidingWindowAttention",
    "Tokenizer",
    "TrainConfig",
    "TrainEvent",
    "Trainer",
    "TrainingDiverged",
    "TransformerBlock",
    "attention_maps",
    "attention_mask",
    "evaluate",
    "list_checkpoints",
    "load_checkpoint",
    "load_corpus",
    "load_pretrained",
    "save_checkpoint",
    "stream_text",
    "stream_tokens",
    "train",
]
