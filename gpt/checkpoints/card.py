"""The card of a model: what it is, how it came to be and what was measured of it, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gpt.costs.formulas import parameter_count
from gpt.costs.machine import installed, processor, threads_text
from gpt.data.corpus import Corpus
from gpt.data.tokenizer import CharTokenizer, Tokenizer
from gpt.generation.stream import opening, stream_text
from gpt.model.config import GPTConfig, changes_from_gpt2
from gpt.model.gpt2 import GPT2
from gpt.training.evaluation import mean_and_error, token_losses
from gpt.training.state import TrainEvent, best_event

MOST_WINDOWS = 10_000  # of a validation text that would take longer to read than the training took
_SAMPLE_SEEDS = (1, 2, 3)
_SAMPLE_LENGTH = 300  # tokens
_TEMPERATURE = 0.8


def measured_result(model: GPT2, corpus: Corpus, command: str) -> dict[str, Any]:
    """What a card says of a finished model: its loss over the validation text, samples, and where it was made.

    Args:
        model: with the weights as they are saved.
        corpus: what it learned from.
        command: makes it again.
    """
    loss, error = mean_and_error(token_losses(model, corpus.validation_ids, most_windows=MOST_WINDOWS))
    return {
        "command": command,
        "hardware": f"{processor()}, {threads_text()}, torch {installed('torch')}",
        "validation_loss": loss,
        "validation_error": error,
        "is_whole_text": is_read_whole(corpus, model.config),
        "samples": samples(model, corpus.tokenizer),
    }


def is_read_whole(corpus: Corpus, config: GPTConfig) -> bool:
    """Whether `MOST_WINDOWS` windows hold the whole validation text."""
    return len(corpus.validation_ids) <= MOST_WINDOWS * config.context_length


def samples(model: GPT2, tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """What a model writes after its `opening`: {"seed", "text"} for each."""
    prompt = opening(tokenizer)
    written = []
    for seed in _SAMPLE_SEEDS:
        pieces = stream_text(
            model, tokenizer, prompt, max_new_tokens=_SAMPLE_LENGTH, temperature=_TEMPERATURE, seed=seed
        )
        written.append({"seed": seed, "text": "".join(pieces)})
    return written


def card_text(name: str, description: Mapping[str, Any], history: Sequence[TrainEvent]) -> str:
    """The README of a checkpoint folder, from nothing but what the files beside it say.

    Args:
        name: of the folder.
        description: what config.json holds.
        history: the training events.
    """
    config = GPTConfig(**description["model"])
    best = best_event(history)
    rows = _about_the_model(config) + _about_the_training(description, history, best)
    lines = [
        f"# {name}",
        "",
        f"A GPT of the variant `{description['variant']}`. "
        f"Changes from GPT-2: {', '.join(changes_from_gpt2(config)) or 'none'}.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {what} | {value} |" for what, value in rows),
    ]
    result = description.get("result")
    if result:
        lines += _about_the_result(result, config, description)
    elif best is not None and best.sample:
        lines += ["", "What it wrote at that step:", "", *_quoted(best.sample)]
    lines += ["", "Continue a text with it: `python -m gpt generate --model <this folder> --prompt '...'`", ""]
    return "\n".join(lines)


def transformers_card_text(
    name: str,
    place: str,
    architecture: str,
    description: Mapping[str, Any],
    history: Sequence[TrainEvent],
    tokenizer: Tokenizer,
) -> str:
    """The README of a model in the layout of transformers, from what its checkpoint says of it.

    Args:
        name: what the card is headed with.
        place: what to load it from: a folder, or its name on the Hugging Face hub.
        architecture: the class of transformers that it is.
        description: what the checkpoint's config.json holds.
        history: the training events.
        tokenizer: its vocabulary.
    """
    config = GPTConfig(**description["model"])
    corpus, result, best = description["corpus"], description["result"], best_event(history)
    rows = _about_the_model(config) + _about_the_training(description, history, best)
    if not corpus:
        rows.append(("corpus", "not recorded"))
    if result:
        loss = result["validation_loss"]
        told = f"{loss:.4f} nats per token{_in_bits(loss, corpus, 4)}, over {_extent(result)}"
        rows.append(("validation loss of these weights", told))
    elif best is None:
        rows.append(("validation loss", "not recorded"))
    version = "5 or later: earlier ones may ignore the window" if config.window_size else "4.45 or later"
    knows = ""
    if isinstance(tokenizer, CharTokenizer):
        knows = f"It knows {config.vocab_size:,} characters, and its tokenizer refuses a text with any other. "
    lines = [
        *("---", "library_name: transformers", "pipeline_tag: text-generation", "---", "", f"# {name}", ""),
        f"A small GPT, trained with GPT Lab, as the `{architecture}` of transformers ({version}). "
        f"Changes from GPT-2: {', '.join(changes_from_gpt2(config)) or 'none'}.",
        *("", "```python", "from transformers import AutoModelForCausalLM, AutoTokenizer"),
        f"tokenizer, model = (auto.from_pretrained({place!r}) for auto in (AutoTokenizer, AutoModelForCausalLM))",
        f"print(tokenizer.decode(model.generate(**tokenizer({opening(tokenizer)!r}, return_tensors='pt'))[0]))",
        *("```", "", "| | |", "|---|---|", *(f"| {what} | {value} |" for what, value in rows), ""),
        f"It looks back on at most {config.context_length:,} tokens: let a prompt and what follows fit in. "
        f"{knows}It writes what is likely, not what is true.",
        "",
    ]
    return "\n".join(lines)


def _about_the_model(config: GPTConfig) -> list[tuple[str, str]]:
    heads = f"{config.num_heads} heads" + ("" if config.num_kv_heads is None else f" ({config.kv_heads} of keys)")
    return [
        ("parameters", f"{parameter_count(config):,}"),
        ("layers", f"{config.num_layers} of {heads}, {config.embed_size} wide, feed-forward {config.hidden_size}"),
        ("positions", config.positions),
        ("context", f"{config.context_length} tokens"),
        ("window", "none" if config.window_size is None else f"{config.window_size} tokens"),
        ("dropout", f"{config.dropout:g}"),
        ("vocabulary", f"{config.vocab_size:,} tokens"),
    ]


def _about_the_training(
    description: Mapping[str, Any], history: Sequence[TrainEvent], best: TrainEvent | None
) -> list[tuple[str, str]]:
    rows = []
    corpus, training = description["corpus"], description["training"] or {}
    before = description.get("begins_from")  # not there in what an earlier version saved
    if before:
        rows.append(("goes on from", f"{before.get('name')} (SHA-256 of its weights `{before.get('sha256')}`)"))
    if corpus:
        rows.append(("corpus", f"{corpus.get('name')} (SHA-256 of the text `{corpus.get('sha256')}`)"))
    if history:
        last = history[-1]
        trained = f"{last.step:,} steps, {last.tokens:,} tokens, {last.seconds:,.0f} s, seed {training.get('seed')}"
        threads = description.get("threads")  # not there in what an earlier version saved
        on = f", on {threads} thread{'s' * (threads > 1)}" if threads else ""
        rows.append(("trained", trained + on))
    if best is not None:
        windows = training.get("eval_windows") or "all"
        rows.append(
            (
                "best validation loss",
                f"{best.validation_loss:.3f} ± {best.validation_error:.3f} (standard error) nats per token"
                f"{_in_bits(best.validation_loss, corpus, 3)} at step {best.step:,}, over {windows} windows",
            )
        )
    return rows


def _about_the_result(result: Mapping[str, Any], config: GPTConfig, description: Mapping[str, Any]) -> list[str]:
    loss, half_width = result["validation_loss"], 1.96 * result["validation_error"]
    lines = [
        "",
        "## Result",
        "",
        f"Loss over {_extent(result)}, with the weights in this folder: **{loss:.4f} nats per token**"
        f"{_in_bits(loss, description['corpus'], 4)} "
        f"(95 % confidence interval {loss - half_width:.3f} to {loss + half_width:.3f}, "
        f"from how much the loss differs between windows), a perplexity of {math.exp(loss):.2f}.",
        "",
        f"Made on {result['hardware']} with",
        "",
        f"    {result['command']}",
        "",
        f"SHA-256 of model.safetensors: `{result['weights_sha256']}`.",
        "",
        "## Samples",
    ]
    for sample in result["samples"]:
        lines += ["", f"Seed {sample['seed']}, temperature {_TEMPERATURE}:", "", *_quoted(sample["text"])]
    before = description.get("begins_from") or {}
    else_read = f"what {before.get('name')} had read before it" if before else "nothing else"
    return [
        *lines,
        "",
        "## Limits",
        "",
        f"It has read {description['corpus'].get('name')} and {else_read}. It knows {config.vocab_size:,} "
        f"tokens, looks back on at most {config.context_length} of them, and writes what is likely, not what is true.",
    ]


def _extent(result: Mapping[str, Any]) -> str:
    """What a result's loss was measured on."""
    return (
        "the whole validation text" if result["is_whole_text"] else f"{MOST_WINDOWS:,} windows of the validation text"
    )


def _in_bits(loss: float | None, corpus: Mapping[str, Any], digits: int) -> str:
    """The same loss in bits per character, if it is known how many tokens a character takes."""
    tokens = corpus.get("tokens_per_character")  # not there in what an earlier version saved
    if loss is None or not isinstance(tokens, float):
        return ""
    return f", {loss / math.log(2) * tokens:.{digits}f} bits per character"


def _quoted(text: str) -> list[str]:
    return [f"    {line}".rstrip() for line in text.strip("\n").split("\n")]
