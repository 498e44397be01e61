"""What there is to take home: of a run its log, models, chart and a script; of attention its maps and weights."""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpt.checkpoints.folder import Checkpoint, save_checkpoint
from gpt.checkpoints.layouts import layout_of
from gpt.checkpoints.transformers_export import transformers_files
from gpt.data.corpora import CORPORA
from gpt.data.corpus import Corpus
from gpt.figures.plots import attention_figure, attention_grid_figure, loss_figure, save_figure
from gpt.model.config import GPTConfig, variant_name
from gpt.model.masks import attention_mask
from gpt.runs.run import Member, Run
from gpt.training.state import TrainEvent

_TEXT_FILE = "text.txt"


def export_run(run: Run, folder: Path, name: str = "") -> list[Path]:
    """Write all files of a run into a folder that exists; returns them in the order to show.

    The chart's legend and the names of the files say `name`, what somebody calls the run, where it has one.

    A copy of another run has no script, because its first steps were made elsewhere; nor has a run that goes on from a
    model, whose weights no seed gives again.
    """
    files = [
        _write_chart(run, folder / f"{_in_file_name(name)}chart.png", name),
        _write_chart(run, folder / f"{_in_file_name(name)}chart.svg", name),
        _write_history(run, folder / f"{_in_file_name(name)}history.csv"),
        *(_write_model(run, member, folder, name) for member in run.members if member.kept_steps),
    ]
    if not run.request.copy_of and not run.request.begins_from:
        script = folder / "reproduce.py"
        script.write_text(reproduction_script(run), encoding="utf-8")
        files.append(script)
        if run.corpus.name not in CORPORA:
            text = folder / _TEXT_FILE
            text.write_text(corpus_text(run.corpus), encoding="utf-8", newline="")
            files.append(text)
    return files


def export_for_transformers(run: Run, folder: Path) -> tuple[list[Path], list[str]]:
    """Write each model of a run as the folder that transformers opens, zipped, into a folder that exists.

    Returns:
        The files, and a sentence for each model that transformers has no place for.
    """
    files, refused = [], []
    for member in run.members:
        name = f"{_name(member)}-transformers"
        try:
            layout_of(member.config)
        except ValueError as error:
            if member.seed == run.members[0].seed:  # once for those that differ in their seeds only
                refused.append(f"{member.label}: {error}")
            continue
        if not member.kept_steps:
            continue
        model = member.model_at()
        checkpoint = Checkpoint(run.corpus.tokenizer, model.config, model=model, **_known_of(run, member))
        files.append(folder / f"{name}.zip")
        with zipfile.ZipFile(files[-1], "w", zipfile.ZIP_DEFLATED) as archive:
            for file, content in transformers_files(checkpoint, name).items():
                archive.writestr(f"{name}/{file}", content)
    return files, refused


def export_attention(
    weights: Tensor, config: GPTConfig, tokens: Sequence[str], chosen: tuple[int, int], label: str, folder: Path
) -> list[Path]:
    """Write what is to be seen of a model's attention over a text into a folder that exists.

    Args:
        weights: (num_layers, num_heads, T, T).
        config: of the model.
        tokens: the T tokens as text.
        chosen: (layer, head) of the large map, from 0.
        label: the model's name.
        folder: where to write.

    Returns:
        The files: the large map and the grid of all heads as PNG and SVG, and the weights with their tokens and mask
        as a NumPy archive.
    """
    layer, head = chosen
    label = _plain(label)
    one = attention_figure(weights[layer, head], config, tokens, f"{label}: layer {layer + 1}, head {head + 1}")
    every = attention_grid_figure(weights, config, f"{label}: all heads")
    files = []
    for name, figure in ((f"layer-{layer + 1}-head-{head + 1}", one), ("all-heads", every)):
        for ending in ("png", "svg"):
            files.append(folder / f"{name}.{ending}")
            save_figure(figure, files[-1])
    positions = torch.arange(len(tokens))
    allowed = attention_mask(positions, positions, config.window_size, config.causal)
    files.append(folder / "attention.npz")
    np.savez_compressed(files[-1], weights=weights.numpy(), tokens=np.array(tokens), allowed=allowed.numpy())
    return files


def corpus_text(corpus: Corpus) -> str:
    """The whole text of a corpus."""
    return corpus.tokenizer.decode([*corpus.train_ids.tolist(), *corpus.validation_ids.tolist()])


def _in_file_name(name: str) -> str:
    """The beginning of a file's name that says a run's: letters, digits and dashes, or nothing."""
    said = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return f"{said}-" if said else ""


def _plain(words: str) -> str:
    """Words in a figure as they are: a dollar sign would begin a formula."""
    return words.replace("$", r"\$")


def _write_chart(run: Run, path: Path, name: str) -> Path:
    origin = run.request.origin
    after = f", goes on from {origin['name']}" if origin else ""
    after += f", {_plain(name)}" if name else ""
    curves = {f"{_name(member)}{after}": (variant_name(member.config), list(member.events)) for member in run.members}
    save_figure(loss_figure(curves), path)
    return path


def _write_history(run: Run, path: Path) -> Path:
    """Every event of every model, one a line, numbers in full; the samples are left out.

    Of a run that goes on from a model, each line says so.
    """
    begins_from = [run.request.begins_from] if run.request.begins_from else []
    columns = [field.name for field in fields(TrainEvent) if field.name != "sample"]
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["model", "seed", *(["begins_from"] if begins_from else []), *columns])
        for member in run.members:
            for event in list(member.events):
                values = asdict(event)
                writer.writerow([member.label, member.seed, *begins_from, *(values[column] for column in columns)])
    return path


def _write_model(run: Run, member: Member, folder: Path, run_name: str) -> Path:
    """The checkpoint folder of a model that has begun to learn, as a zip file of its own, as Compare opens it."""
    name = f"{_in_file_name(run_name)}{_name(member)}"
    path = folder / f"{name}.zip"
    with TemporaryDirectory() as workplace, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        checkpoint = Path(workplace, name)
        save_checkpoint(
            checkpoint,
            member.model_at(),
            run.corpus.tokenizer,
            threads=run.layout[1] or None,
            **_known_of(run, member),
        )
        for file in sorted(checkpoint.iterdir()):
            archive.write(file, f"{name}/{file.name}")
    return path


def _known_of(run: Run, member: Member) -> dict[str, Any]:
    """What is kept beside a model's weights."""
    return {
        "history": tuple(member.events),
        "train_config": replace(run.request.training, seed=member.seed),
        "corpus": run.corpus.about,
        "begins_from": run.request.origin or {},
    }


def _name(member: Member) -> str:
    """A name for files: letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", f"{member.label} seed {member.seed}".lower()).strip("-")


def reproduction_script(run: Run, losses: int = 10) -> str:
    """A Python script that trains the run's models again and prints the first losses of each."""
    corpus = repr(run.corpus.name if run.corpus.name in CORPORA else _TEXT_FILE)
    if run.corpus.tokenizer_sha256:
        corpus += f", byte_pairs={max(257, run.corpus.tokenizer.vocab_size)}"  # 256 where no pair occurs twice
    models = "".join(f"    ({member.label!r}, {member.seed}): {member.config!r},\n" for member in run.members)
    return f'''"""Prints the first {losses} training losses of a run of GPT Lab; run it beside the folder gpt/."""

from dataclasses import replace
from itertools import islice

import torch

from gpt import GPT2, GPTConfig, TrainConfig, load_corpus, train

torch.set_num_threads({max(1, run.layout[1])})  # as the lab did; another number rounds differently
corpus = load_corpus({corpus})
training = {run.request.training!r}
models = {{
{models}}}

for (label, seed), config in models.items():
    model = GPT2.from_config(config)
    model.initialize(seed)
    for event in islice(train(model, corpus, replace(training, seed=seed)), {losses + 1}):
        if event.train_loss is not None:
            print(label, seed, event.step, event.train_loss)
'''
