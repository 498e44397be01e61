"""The command line: `python -m gpt train`, `generate`, `prepare`, `export`, `push`, `bench`, `demo` and others.

Where it is installed, it is also called `gpt-lab`.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from gpt import __version__
from gpt.bench import BENCHMARKS
from gpt.checkpoints.folder import read_description
from gpt.checkpoints.listing import holds_checkpoint, place_of
from gpt.checkpoints.pretrained import PRETRAINED, PretrainedUnavailable, is_pretrained, load_pretrained
from gpt.checkpoints.push import TARGETS, PushFailed, push_checkpoint
from gpt.checkpoints.shipped import SHIPPED, corpus_of, findings, training_arguments
from gpt.checkpoints.train_program import add_training_options, run_training
from gpt.checkpoints.transformers_export import export_checkpoint
from gpt.checkpoints.upload import open_model
from gpt.data.corpora import CorpusUnavailable
from gpt.data.prepare import TOKENIZERS, prepare_text
from gpt.data.tokenizer import Tokenizer
from gpt.experiments.questions import QUESTIONS
from gpt.generation.sampling import Sampling
from gpt.generation.stream import opening, stream_text
from gpt.model.gpt2 import GPT2
from gpt.terminal import as_program, sentence
from gpt.training.distributed import ProcessLost, join, speaks_for_its_machine
from gpt.training.trainer import TrainingDiverged


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status. What a person can set right ends in one sentence and status 2."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["demo"]:
        return _demo(given[1:])
    options = _parser().parse_args(given, argparse.Namespace(given=given))
    try:
        return options.command(options) or 0
    except BrokenPipeError:  # nobody reads on, so nobody is told
        raise
    except (ValueError, OSError, CorpusUnavailable, PretrainedUnavailable, PushFailed, TrainingDiverged) as error:
        if speaks_for_its_machine():
            print(f"gpt: {sentence(error)}", file=sys.stderr)
        return 2
    except ProcessLost as error:
        print(f"gpt: {error}", file=sys.stderr)  # whoever is left says so
        return 2
    except KeyboardInterrupt:
        if speaks_for_its_machine():
            print("\ngpt: stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=_called(), description="Train small GPTs, and let them write.")
    parser.add_argument("--version", action="version", version=f"GPT Lab {__version__}")
    names = "{train,generate,prepare,export,push,experiment,bench,reproduce,verify,demo}"
    commands = parser.add_subparsers(title="commands", required=True, metavar=names)
    for add in (_add_train, _add_generate, _add_prepare, _add_export, _add_push, _add_experiment, _add_bench):
        add(commands)
    _add_reproduce(commands)
    _add_verify(commands)
    commands.add_parser("demo", add_help=False, help="open the page in the browser")  # `main` hands it on whole
    return parser


def _called() -> str:
    """What a person types to run this."""
    name = Path(sys.argv[0]).stem
    return name if name == "gpt-lab" else "python -m gpt"


def _subcommand(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    command: Callable[[argparse.Namespace], int | None],
    text: str,
) -> argparse.ArgumentParser:
    """The parser of the subcommand that a function is, described by a text that begins with its summary."""
    summary = re.split("[,;:.]", text)[0]
    parser = commands.add_parser(
        command.__name__.strip("_"),
        help=summary[0].lower() + summary[1:],
        description=text,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.set_defaults(command=command)
    return parser


def _add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "Train a model and save it as a checkpoint folder; a checkpoint found there is continued."
    add_training_options(_subcommand(commands, _train, text))


def _add_generate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    generate = _subcommand(
        commands, _generate, "Let a trained model continue a text; the text appears as it is written."
    )
    generate.add_argument(
        "--model",
        required=True,
        help="checkpoint folder or its zip file, one that ships, such as shipped/gpt2, a folder of original GPT-2, or "
        f"one to fetch: {', '.join(PRETRAINED)}",
    )
    generate.add_argument("--prompt", help="text to continue (default: a line break)")
    generate.add_argument("--max-new-tokens", type=int, default=300, help="tokens to write")
    generate.add_argument("--temperature", type=float, default=0.8, help="0 always takes the likeliest token")
    generate.add_argument("--top-k", type=int, help="sample among the k likeliest tokens only")
    generate.add_argument(
        "--top-p", type=float, help="sample among the fewest likeliest tokens with this total probability"
    )
    generate.add_argument("--seed", type=int, help="gives the same text again")


def _add_prepare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    prepare = _subcommand(
        commands,
        _prepare,
        "Make a text of any length ready for training: a folder for `train --corpus`, whose token ids stay in their "
        "file. The memory this takes does not grow with the text.",
    )
    prepare.add_argument("text", type=Path, help="a UTF-8 text file, a folder of them, read by path, or - for stdin")
    prepare.add_argument("--out", required=True, type=Path, help="folder to make; it must not exist, or be empty")
    prepare.add_argument("--tokenizer", choices=TOKENIZERS, default="characters", help="what a token is")
    prepare.add_argument("--vocab-size", type=int, default=4096, help="tokens that bpe learns")
    prepare.add_argument("--pattern", default="*.txt", help="names of the files to read in a folder and those below it")


def _add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    export = _subcommand(
        commands, _export, "Write a trained model as a folder that another library opens, whole or not at all."
    )
    export.add_argument("checkpoint", help="checkpoint folder, or zip file of one")
    export.add_argument("--to", required=True, choices=TARGETS, help="the library")
    export.add_argument("--out", required=True, type=Path, help="folder to make; it must not exist, or be empty")


def _add_push(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    push = _subcommand(commands, _push, "Push a trained model with its card to the Hugging Face hub, where you log in.")
    push.add_argument("checkpoint", help="checkpoint folder; with --to, also the zip file of one")
    push.add_argument("--repo", required=True, metavar="USER/NAME", help="its name on the hub; made if it is not there")
    push.add_argument("--private", action="store_true", help="let only its owner see it, if it is made now")
    push.add_argument("--to", choices=TARGETS, help="push it as this library opens it (default: as it is here)")


def _add_experiment(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    experiment = _subcommand(commands, _experiment, "Answer a question by measuring, in about a minute.")
    experiment.formatter_class = argparse.RawDescriptionHelpFormatter
    experiment.epilog = "\n".join(f"{name:14}{question.asks}" for name, question in QUESTIONS.items())
    experiment.add_argument("name", choices=QUESTIONS, metavar="name", help="one of those below")
    experiment.add_argument("settings", nargs="*", metavar="field=value", help="what to change, such as seed=7")
    experiment.add_argument("--quick", action="store_true", help="measure less, within 20 seconds")
    experiment.add_argument("--json", action="store_true", help="print one line of JSON")
    experiment.add_argument("--out", type=Path, help="folder for the figure, the numbers as CSV, and the JSON")


def _add_bench(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    bench = commands.add_parser(
        "bench",
        help="measure speed and memory on this machine, against peers",
        description="Measure speed and memory on this machine, against peers: a table, then one line of JSON.",
        epilog="\n".join(f"{name:10}{meaning}" for name, meaning in BENCHMARKS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    bench.set_defaults(command=_bench)
    bench.add_argument(
        "names", nargs="+", choices=(*BENCHMARKS, "all"), metavar="name", help="one of those below, or all"
    )
    bench.add_argument("--quick", action="store_true", help="measure less, within two minutes for all")
    bench.add_argument("--json", type=Path, metavar="FILE", help="also keep the rows, for `python -m gpt.bench.table`")


def _add_reproduce(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    reproduce = _subcommand(
        commands,
        _reproduce,
        "Train the models that ship with the project again, one after another. It can be interrupted at any "
        "moment; the same command goes on.",
    )
    reproduce.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(SHIPPED)} (default: all)")
    reproduce.add_argument(
        "--out", type=Path, default=Path("reproduced_models"), help="folder to write their folders in"
    )


def _add_verify(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verify = _subcommand(
        commands, _verify, "Compare the cards of trained models with their weights: checksums, loss and samples."
    )
    verify.add_argument(
        "folders", nargs="+", metavar="folder", help="checkpoint folder, or one that ships: shipped/gpt2"
    )


# --- train ----------------------------------------------------------------------------------------------------------


def _train(options: argparse.Namespace) -> int:
    with (
        join(options.parallel, options.device) as group,
        open(os.devnull, "w", encoding="utf-8", errors="replace") as nowhere,
        contextlib.redirect_stdout(sys.stdout if group.is_first else nowhere),
    ):
        chart = options.chart if group.is_first else None
        if chart is None:
            return run_training(options, group)

        from gpt.figures.plots import check_figure_path, save_figure, training_figure  # slow to import, rarely needed

        check_figure_path(chart, folder_to_come=options.out)
        return run_training(options, group, lambda *trained: save_figure(training_figure(*trained), chart))


# --- generate -------------------------------------------------------------------------------------------------------


def _generate(options: argparse.Namespace) -> None:
    sampling = Sampling(options.temperature, options.top_k, options.top_p, options.seed)  # checked before a model loads
    model, tokenizer = _load(options.model)
    prompt = opening(tokenizer) if options.prompt is None else options.prompt
    choices = dataclasses.asdict(sampling)
    stream = stream_text(model, tokenizer, prompt, max_new_tokens=options.max_new_tokens, **choices)
    print(prompt, end="")
    for piece in stream:
        print(piece, end="", flush=True)
    print()


def _load(name_or_folder: str) -> tuple[GPT2, Tokenizer]:
    if is_pretrained(name_or_folder):
        return load_pretrained(name_or_folder)
    return open_model(name_or_folder)


# --- prepare --------------------------------------------------------------------------------------------------------


def _prepare(options: argparse.Namespace) -> None:
    prepared = prepare_text(
        options.text,
        options.out,
        tokenizer=options.tokenizer,
        vocab_size=options.vocab_size,
        pattern=options.pattern,
        progress=True,
        tell=lambda note: tqdm.write(note, file=sys.stderr),
    )
    print(
        f"{prepared.name}: {prepared.characters:,} characters became {prepared.tokens:,} tokens of "
        f"{prepared.vocab_size:,} different ones; saved in {options.out}"
    )


# --- export and push --------------------------------------------------------------------------------------------------


def _export(options: argparse.Namespace) -> None:
    architecture = export_checkpoint(options.checkpoint, options.out)
    print(f"{options.checkpoint} is saved in {options.out} as the {architecture} of {options.to}")


def _push(options: argparse.Namespace) -> None:
    address = push_checkpoint(options.checkpoint, options.repo, private=options.private, to=options.to)
    print(f"{options.checkpoint} is pushed to {address}")


# --- experiment and bench ---------------------------------------------------------------------------------------------


def _experiment(options: argparse.Namespace) -> None:
    from gpt.experiments.program import run_experiment  # experiments are loaded when one is run

    run_experiment(options.name, options.settings, quick=options.quick, as_json=options.json, out=options.out)


def _bench(options: argparse.Namespace) -> None:
    from gpt.bench.report import report  # the benchmarks are loaded when one is run

    names = BENCHMARKS if "all" in options.names else dict.fromkeys(options.names)
    report(list(names), quick=options.quick, file=options.json)


# --- reproduce and verify -------------------------------------------------------------------------------------------


def _reproduce(options: argparse.Namespace) -> int:
    unknown = [name for name in options.names if name not in SHIPPED]
    if unknown:
        raise ValueError(f"no model {unknown[0]!r} ships; choose from {', '.join(SHIPPED)}")
    for name in options.names or SHIPPED:
        arguments = training_arguments(name, options.out)
        folder = options.out / name
        if holds_checkpoint(folder) and read_description(folder).get("result"):
            print(f"{folder} is finished")
            continue
        print(f"python -m gpt {shlex.join(arguments)}", flush=True)
        if status := _train(_parser().parse_args(arguments, argparse.Namespace(given=arguments))):
            return status
    return 0


def _verify(options: argparse.Namespace) -> None:
    wrong = 0
    for folder in map(place_of, options.folders):
        print(folder, flush=True)
        for finding in findings(folder, corpus_of(folder)):
            verdict = {True: "right", False: "WRONG", None: "not compared"}[finding.is_right]
            print(f"    {verdict:14}{finding.what}: {finding.detail}", flush=True)
            wrong += finding.is_right is False
    if wrong:
        raise ValueError(
            f"{wrong} things differ from what the cards say; train these models again, or correct their cards"
        )


# --- demo -----------------------------------------------------------------------------------------------------------


def _demo(arguments: list[str]) -> int:
    from gpt.ui.program import main as open_page  # the page, and Gradio with it, for this command alone

    return open_page(arguments, called=f"{_called()} demo")


def program() -> NoReturn:
    """Run the command line as a program, from whose output anything may hang, and end."""
    status = as_program(main)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # all is done: Ctrl-C while Python ends has no traceback
    sys.exit(status)


if __name__ == "__main__":
    program()
