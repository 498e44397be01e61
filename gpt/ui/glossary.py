"""The words of the field that the page uses, each with its definition: at most two short sentences.

This is the one place for them. The page marks a word where it first stands in an explanation, shows its definition to
whoever points at it, and lists all of them under "Words". To translate them, translate this file.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Word(NamedTuple):
    """A word and its meaning.

    `also` are the other forms in which texts have it. `is_marked` is false for a word with an everyday meaning as well:
    it is listed, and not looked for in texts.
    """

    name: str
    meaning: str
    also: tuple[str, ...] = ()
    is_marked: bool = True


GLOSSARY: dict[str, tuple[Word, ...]] = {
    "Text": (
        Word("token", "The unit in which a model reads and writes: here a character or a byte pair.", ("tokens",)),
        Word(
            "byte pair",
            "A token made by joining two neighbouring tokens that often occur together. "
            "The joining starts from single bytes.",
            ("byte pairs", "byte-pair encoding"),
        ),
        Word("vocabulary", "All the tokens a model knows, each with a number of its own."),
        Word("context", "How many tokens a model is made to read at once.", ("contexts", "context length")),
        Word("prompt", "The text a model is given to continue.", ("prompts",)),
    ),
    "Model": (
        Word(
            "variant",
            "GPT-2 as published, or with other positions or another attention. The rest stays the same.",
            ("variants",),
        ),
        Word(
            "parameter",
            "A number that a model learns, also called a weight. A larger model has more of them.",
            ("parameters",),
        ),
        Word(
            "embedding",
            "The list of numbers that stands for a token, or for a position, inside a model. It is learned.",
            ("embeddings",),
        ),
        Word(
            "layer",
            "One round of attention followed by a feed-forward network, also called a block. "
            "The output of a layer is the input of the next.",
            ("layers",),
        ),
        Word(
            "feed-forward",
            "The part of a layer that works on each token by itself: two matrices with a bent function (GELU) between.",
            ("feed-forward network", "feed-forward layers"),
        ),
        Word(
            "layer norm",
            "Brings each token's numbers to mean 0 and variance 1, then scales and shifts them by learned amounts.",
            ("layer norms",),
        ),
        Word(
            "logit",
            "The score a model gives a token that could come next. Softmax turns the logits into probabilities.",
            ("logits",),
        ),
        Word(
            "softmax",
            "Turns scores into shares that add up to 1: e to the power of each score, divided by the sum of all.",
        ),
        Word("checkpoint", "A saved model: its weights, its vocabulary and its settings.", ("checkpoints",)),
    ),
    "Attention": (
        Word(
            "attention",
            "How a token takes in what earlier ones hold: a mean of their values, weighted by how well keys match "
            "its query.",
        ),
        Word(
            "head",
            "One of several attentions that a layer computes side by side, each with queries of its own.",
            ("heads", "query heads"),
        ),
        Word(
            "query",
            "What a token asks: a list of numbers that is compared with the key of every token it may see.",
            ("queries",),
        ),
        Word(
            "key",
            "What a token is found by: a list of numbers. The better it matches a query, the more its value counts.",
            ("keys",),
        ),
        Word(
            "value",
            "What a token passes on when it is read: a list of numbers. A head adds up the values it reads, each times "
            "its attention weight.",
            ("values",),
        ),
        Word(
            "KV head",
            "The part of a layer that makes one set of keys and values. Several query heads may share it, which makes "
            "the cache smaller.",
            ("KV heads", "key/value head", "key/value heads"),
        ),
        Word(
            "attention weight",
            "The share of its attention that a query gives to one key. The weights of a query add up to 1.",
            ("attention weights",),
        ),
        Word(
            "causal mask",
            "The rule that a token may see itself and the tokens before it, and none after it.",
        ),
        Word("window", "With a window of W, a token sees only the last W tokens, itself included.", ("windows",)),
        Word(
            "receptive field",
            "All the tokens that can reach an output, through every layer and its mask.",
        ),
        Word(
            "learned positions",
            "Each position has its own embedding, added to the token's. There are as many as the context is long.",
            ("position embedding", "position embeddings"),
        ),
        Word(
            "rotary positions",
            "Queries and keys are turned by an angle proportional to their position (RoPE). Position then enters their "
            "match only as the distance between them.",
            ("RoPE",),
        ),
        Word(
            "ALiBi",
            "Lowers the score of a key in proportion to its distance from the query, at a different rate in each head.",
        ),
    ),
    "Training": (
        Word("step", "One update of the weights, from one batch.", ("steps", "training step", "training steps")),
        Word(
            "batch",
            "The pieces of text that a model learns from in one step.",
            ("batches", "batch size"),
        ),
        Word(
            "loss",
            "How badly a model predicts the next tokens: its mean surprise. Training tries to make it small.",
            ("losses",),
        ),
        Word(
            "validation loss",
            "The loss on the part of the text that the model does not learn from.",
            ("validation losses", "validation text"),
        ),
        Word(
            "gradient",
            "For every weight, how fast the loss changes as that weight does. An update goes against it.",
            ("gradients",),
        ),
        Word(
            "gradient norm",
            "The length of the gradient, taken as one list of numbers over all weights.",
            ("gradient norms",),
        ),
        Word("learning rate", "How far each step moves the weights.", ("learning rates",)),
        Word(
            "AdamW",
            "An optimizer: it scales the update of each weight by how large that weight's gradients have been lately.",
        ),
        Word(
            "Muon",
            "An optimizer for matrices: it evens out the update of a matrix, so that it changes every direction by "
            "about as much.",
        ),
        Word("recipe", "An optimizer with its learning rates and their course, under one name.", ("recipes",)),
        Word("weight decay", "Shrinks the weights a little towards zero at every step."),
        Word(
            "dropout",
            "Sets a random share of a model's inner numbers to zero at each training step, so that it does not rely on "
            "any one of them.",
        ),
        Word(
            "over-fitting",
            "Learning a text so closely that the loss on other text rises.",
            ("over-fit", "over-fits"),
        ),
        Word(
            "seed",
            "The number that all random choices follow from. The same seed gives the same choices again.",
            ("seeds",),
        ),
    ),
    "Writing": (
        Word(
            "sampling",
            "Drawing the next token at random, by the probabilities the model gives.",
            ("sampled",),
        ),
        Word(
            "temperature",
            "What logits are divided by before sampling. Below 1 the likely tokens gain, above 1 the others do; at 0 "
            "the likeliest is always taken.",
            ("temperatures",),
        ),
        Word("top-k", "Sampling from the k likeliest tokens only."),
        Word(
            "top-p",
            "Sampling only from the fewest likeliest tokens whose probabilities add up to at least p.",
        ),
        Word(
            "cache",
            "The keys and values of the tokens read so far, kept so that they need not be computed again.",
            ("caches", "KV cache"),
        ),
    ),
    "Measuring": (
        Word(
            "surprise",
            "Minus the logarithm of the probability that a model gave the token that came. Certainty is 0.",
        ),
        Word(
            "nat",
            "The unit of surprise in natural logarithms: a token of probability 1/e surprises by 1 nat. "
            "One nat is 1.44 bits.",
            ("nats", "nats per token", "nats per character"),
        ),
        Word(
            "bit",
            "The unit of surprise in logarithms to base 2: a token of probability 1/2 surprises by 1 bit.",
            ("bits per token",),
            is_marked=False,
        ),
        Word(
            "bits per character",
            "The loss in bits, shared out over characters instead of tokens. It lets models with different tokens be "
            "compared.",
        ),
        Word(
            "perplexity",
            "e to the power of the loss in nats. A model that chose evenly among that many tokens would have the same "
            "loss.",
        ),
        Word(
            "entropy",
            "The surprise to expect from a distribution: 0 if one token is certain, largest if all are equally likely.",
        ),
        Word(
            "uniform guessing",
            "Giving every token the same probability. Its loss is the logarithm of the size of the vocabulary.",
        ),
        Word("bigram model", "Predicts each token from the one before it, by counting the pairs in a text."),
        Word(
            "FLOPs",
            "The multiplications and additions a computation needs. Their number is the same on every machine.",
            ("MFLOP", "FLOPs per token"),
        ),
        Word(
            "standard error",
            "How far a measured mean typically lies from the true one, because it rests on a limited number of cases.",
            ("standard errors",),
        ),
        Word(
            "ablate",
            "To replace the output of a head with zero, so as to measure what the head contributes.",
            ("ablated", "ablating"),
        ),
        Word("induction", "Finding where the same token stood before, and expecting what followed it then."),
        Word(
            "prefix match",
            "The attention weight a head gives to tokens that followed an earlier occurrence of the query's token.",
        ),
    ),
}

# Where texts say these, they do not mean the word of the field that is in them.
OTHER_MEANINGS = (
    "arrow key",
    "arrow keys",
    "step by step",
    "a key and its value",
    "one key with its value",
    "the key",
    "the value",
    "keys, values and the rest",
)


def glossary_value() -> dict[str, Any]:
    """The glossary as the page is sent it: groups of words, each with the forms to look for."""
    groups = [
        {
            "title": title,
            "words": [
                {
                    "name": word.name,
                    "meaning": word.meaning,
                    "forms": [*([word.name] if word.is_marked else []), *word.also],
                }
                for word in words
            ],
        }
        for title, words in GLOSSARY.items()
    ]
    return {"groups": groups, "others": list(OTHER_MEANINGS)}
