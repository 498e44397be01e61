"""The words of every experiment: what is asked, what may be predicted, and what can be changed.

They are known without PyTorch, for which the page does not wait. What an experiment does is in the file of its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SEED = 1337


@dataclass(frozen=True)
class Control:
    """One thing that can be changed.

    Attributes:
        field: of the experiment's setup.
        label, info: its name, and a line on what it does.
        choices: (value, what it is called), at least two, the default among them.
        default: its value where nobody changes it.
    """

    field: str
    label: str
    info: str
    choices: tuple[tuple[Any, str], ...]
    default: Any


@dataclass(frozen=True)
class Drawing:
    """A curve that can be predicted by drawing it.

    Attributes:
        of: which curve of the first chart it foretells, by its label.
        x_range, y_range: of the empty chart.
        x_title, y_title: as on the chart.
        x_scale: "linear" or "log".
    """

    of: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    x_title: str
    y_title: str
    x_scale: str = "linear"


@dataclass(frozen=True)
class Question:
    """What one experiment asks.

    Attributes:
        title: in a few words.
        asks: the question, in a sentence.
        method: what is done to answer it, in two or three sentences that say nothing of the outcome.
        options: what can be predicted, each (name, sentence); the names are what `Result.answer` may be.
        controls: two or three things to change, the seed not among them.
        drawing: where the prediction may also be drawn.
    """

    title: str
    asks: str
    method: str
    options: tuple[tuple[str, str], ...]
    controls: tuple[Control, ...]
    drawing: Drawing | None = None


def _named(*values: Any) -> tuple[tuple[Any, str], ...]:
    """Choices whose values say what they are."""
    return tuple((value, f"{value:,}" if isinstance(value, int) else str(value)) for value in values)


_MODEL = Control(
    "model",
    "Model",
    "One of those that ship.",
    _named("gpt2", "rotary", "grouped-query", "sliding-window", "modern"),
    "gpt2",
)

QUESTIONS: dict[str, Question] = {
    "break-it": Question(
        "Break it",
        "Take one part of GPT-2 away. What becomes of its loss?",
        "Two models start from the same weights and learn from the same batches. One is GPT-2; in the other, one part "
        "is broken. Both are measured on text they have not learned from. Without the causal mask this is done "
        "twice: once as in training, and once with each character predicted from only the text before it.",
        (
            ("same", "It learns about as well, or better."),
            ("worse", "It learns, but less well."),
            ("fails", "It learns at most how frequent each character is, or diverges."),
            ("cheats", "Its loss looks better, until it can see only the past."),
        ),
        (
            Control(
                "change",
                "What is broken",
                "One part of the healthy model.",
                (
                    ("no-mask", "no causal mask"),
                    ("no-positions", "no positions"),
                    ("no-residual-scaling", "residual layers not scaled down at the start"),
                    ("no-normalisation", "no layer norm"),
                    ("post-norm", "layer norm after each sum (post-norm)"),
                    ("rate-times-ten", "ten times the learning rate"),
                ),
                "no-mask",
            ),
            Control("steps", "Steps", "Updates of each model's weights.", _named(60, 120, 240), 120),
        ),
    ),
    "longer-texts": Question(
        "Beyond the trained length",
        "Models have learned from texts of 64 characters. Which of them reads the 200th best?",
        "Models that differ only in how they know positions learn from texts of 64 characters. Then each reads texts "
        "four times as long, and its loss is measured at every position. Positions 193 to 256 are compared. Learned "
        "positions end at the 64th.",
        (
            ("alibi", "The one with ALiBi."),
            ("none", "The one without positions."),
            ("rotary", "The one with rotary positions."),
            ("window", "The one with rotary positions and a window."),
        ),
        (
            Control(
                "window_size",
                "Window",
                "How many keys a query may see, in the model with a window.",
                _named(8, 16, 32),
                16,
            ),
            Control("steps", "Steps", "Updates of each model's weights.", _named(60, 120, 200), 120),
        ),
        Drawing("rotary", (1, 256), (1.5, 3.5), "position in the text", "loss (nats per character)"),
    ),
    "recall": Question(
        "Recall at a distance",
        "A key and its value stand d tokens back. At the end, the key comes again. Which model still finds the value?",
        "Texts of random tokens hold one key with its value, d tokens before the end. There the key comes again, and "
        "the value has to follow; keys, values and the rest are tokens of three kinds. A model with full attention "
        "and one with a sliding window learn this at all distances, and are tested at each on new texts.",
        (
            ("both", "Both find it at every distance."),
            ("window", "The window model finds it as far as one window, and no farther."),
            ("part", "The window model finds it farther than one window, but not as far as its layers reach."),
            ("reach", "The window model finds it as far as its layers reach, and no farther."),
            ("neither", "Neither finds it reliably."),
        ),
        (
            Control("window_size", "Window", "How many keys a query may see, itself included.", _named(4, 8, 16), 8),
            Control("num_layers", "Layers", "Of both models.", _named(1, 2, 3), 2),
            Control("longest", "Longest distance", "In tokens.", _named(24, 32, 48), 32),
        ),
        Drawing("sliding-window", (1, 32), (0.0, 1.0), "distance d (tokens)", "share of values found"),
    ),
    "induction": Question(
        "Induction",
        "Random tokens, then the same again. What does a model need to predict the second copy?",
        "Nothing in the first copy can be predicted. In the second, everything can: what followed a token last time "
        "follows it again. Models of one and of two layers learn this, from copies of varying length unless it is "
        "set to be the same. Meanwhile the loss on the second copy is measured, and the weight that every head puts "
        "on the token that followed last time (prefix match).",
        (
            ("two", "One layer cannot; two layers can."),
            ("one", "One layer is enough."),
            ("neither", "Neither learns it here."),
        ),
        (
            Control(
                "positions",
                "Positions",
                "How the model knows where a token stands.",
                (("alibi", "ALiBi"), ("learned", "learned"), ("rotary", "rotary")),
                "alibi",
            ),
            Control("copy_length", "Length of a copy", "Of the longest copy, in tokens.", _named(16, 24, 32), 24),
            Control(
                "lengths",
                "Lengths",
                "Whether a fixed distance leads back to the first copy.",
                (("vary", "vary, from half of that"), ("same", "all the same")),
                "vary",
            ),
        ),
    ),
    "toy-tasks": Question(
        "Toy tasks",
        "Does a small GPT learn a task well enough to solve problems it has never seen? "
        "For sums: does it matter how they are written?",
        "A task makes endless examples, each with its answer. A model learns from them, and is then given problems "
        "that were held back; every character of an answer has to be right. For addition, two models learn the same "
        "sums: one with answers written as usual, one with answers padded with zeros and the last digit first.",
        (
            ("reversed", "Sums: above 95 % are right if the last digit is written first; the usual way, below."),
            ("usual", "Sums: above 95 % are right if written the usual way; last digit first, below."),
            ("both", "Above 95 % are right (sums: either way)."),
            ("neither", "Below 95 % are right (sums: either way)."),
        ),
        (
            Control(
                "task",
                "Task",
                "What the model has to do.",
                (
                    ("addition", "addition"),
                    ("copy", "copy a word"),
                    ("reverse", "reverse a word"),
                    ("sort", "sort letters"),
                    ("parity", "parity of bits"),
                    ("brackets", "closing brackets"),
                ),
                "addition",
            ),
            Control(
                "digits",
                "Longest example",
                "The longest that the model learns from.",
                ((2, "2 digits, or 6 letters"), (3, "3 digits, or 9 letters"), (4, "4 digits, or 12 letters")),
                3,
            ),
            Control("steps", "Steps", "Updates of each model's weights.", _named(150, 300, 450), 450),
        ),
    ),
    "savings": Question(
        "What a window and KV heads save",
        "A window makes the cache many times smaller. Does it make writing as many times faster?",
        "Models of one size write on a text of growing length. The bytes of keys and values that they hold are "
        "computed by formula and counted in memory. The time for each token is measured, with the models taking turns.",
        (
            ("as-much", "Yes, by about the same factor."),
            ("less", "Faster, but by a smaller factor."),
            ("none", "Not measurably faster."),
        ),
        (
            Control("window_size", "Window", "How many keys a query may see.", _named(32, 128, 512), 128),
            Control(
                "num_kv_heads", "KV heads", "In the model with fewer; there are 8 query heads.", _named(1, 2, 4), 2
            ),
            Control("longest", "Longest text", "In tokens.", _named(1024, 2048, 4096), 4096),
        ),
    ),
    "sampling": Question(
        "Sampling",
        "A model writes a hundred texts at one temperature, then at another. Which has more different words?",
        "One of the models that ship writes a hundred short texts for each setting, from the same seeds. Three things "
        "are counted: the different words, the share of words that occur in the text it learned from, and how often "
        "a text repeats itself. Beside them stands one distribution over the next character, "
        "as temperature, top-k and top-p change it.",
        (
            ("higher", "More different words at the higher temperature, and more that do not exist."),
            ("higher-real", "More different words at the higher temperature, and as many of them exist."),
            ("lower", "More different words at the lower temperature."),
            ("same", "About as many at both."),
        ),
        (
            _MODEL,
            Control(
                "low", "Lower temperature", "Below 1, likely characters become likelier.", _named(0.2, 0.5, 0.8), 0.5
            ),
            Control(
                "high",
                "Higher temperature",
                "Above 1, unlikely characters become likelier.",
                _named(1.0, 1.3, 1.6),
                1.3,
            ),
        ),
    ),
    "over-fitting": Question(
        "Over-fitting and committees",
        "A model learns a short text almost by heart. What helps it most on text it has not seen?",
        "The same model learns a short text for too long: as it is, with dropout, and with weight decay, with three "
        "seeds of each. Its loss is measured on that text and on unseen text, which shows the step at which each "
        "model is best. The models as they were at that step are compared on other text. So is a committee: three "
        "plain models whose logits are averaged.",
        (
            ("stopping", "Stopping the plain model early; nothing else beats it."),
            ("dropout", "Dropout."),
            ("decay", "Weight decay."),
            ("committee", "The committee."),
        ),
        (
            Control("characters", "Text", "Characters to learn from.", _named(5_000, 10_000, 20_000), 10_000),
            Control("dropout", "Dropout", "The share of activations that is dropped.", _named(0.1, 0.2, 0.4), 0.2),
            Control(
                "weight_decay",
                "Weight decay",
                "How strongly weights are pulled towards zero.",
                _named(0.5, 1.0, 2.0),
                1.0,
            ),
        ),
        Drawing("plain, unseen text", (0, 200), (1.5, 5.0), "training step", "loss (nats per character)"),
    ),
    "another-text": Question(
        "Another text",
        "A model that knows Shakespeare goes on with Python's documentation. What does it keep?",
        "A model that ships goes on learning, with another text, of which it knows most characters. Meanwhile its "
        "loss on both texts is measured, beside that of a new model that learns the same rows of the other text "
        "from scratch. If the loss on Shakespeare rises by more than 0.2 nats, we call that forgetting.",
        (
            ("keeps", "It learns the new text and keeps Shakespeare."),
            ("forgets", "It forgets Shakespeare, and is ahead of the new model on the new text."),
            ("no-gain", "It forgets Shakespeare, and is not ahead of the new model."),
        ),
        (
            _MODEL,
            Control(
                "rate_multiple",
                "Learning rate",
                "Of the model that goes on, as a multiple of the fast recipe's.",
                _named(0.03, 0.1, 0.3),
                0.1,
            ),
            Control(
                "kept_share",
                "Shakespeare kept",
                "The share of each batch that comes from Shakespeare.",
                ((0.0, "none"), (0.25, "a quarter"), (0.5, "half")),
                0.0,
            ),
        ),
    ),
}


def question_of(name: str) -> Question:
    """The question of an experiment; raises ValueError that lists the names if there is no such experiment."""
    if name not in QUESTIONS:
        raise ValueError(f"there is no experiment {name!r}; choose one of {', '.join(QUESTIONS)}")
    return QUESTIONS[name]
