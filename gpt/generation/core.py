"""Texts under way in one model: admit a text, make one step for all that are read in the same way, release it.

There are three ways to read a text's newest token. `_Decoding` does it for all texts at once, with their keys and
values side by side. `_Calling` calls a model that has parts or hooks of others, with a cache for each text.
`_Rereading` reads the last `context_length` tokens again, because their keys and values have changed: the first token
of the text has gone, and the positions of all others are new. Each is exact as long as it is used; a text goes from
one of the first two to the third when it has filled its context, unless its model rolls for ever.

Nothing here waits or knows of threads: a core belongs to whoever made it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from gpt.generation.decoder import Decoder, can_decode, read_prompt, rolls_forever
from gpt.generation.sampling import Sampling, are_numbers, choose
from gpt.generation.slots import Past
from gpt.model.cache import KVCache
from gpt.model.config import check_whole_number
from gpt.model.gpt2 import GPT2, evaluation_mode

_MOST_TOKENS = 2048  # read again in one step: more together are no faster, and the other texts wait
_MOST_LOGITS = 2**26  # numbers: a quarter of a gigabyte in float32

DIVERGED = "the model's logits are not numbers: its training has diverged; go back to earlier weights"


class Text:
    """A text under way: B rows of one length that share a random stream.

    Args:
        model: will continue it.
        input_ids: (B, T) token ids, at least one token; they are copied.
        max_new_tokens: how many tokens to choose for each row.
        sampling: how.

    Attributes:
        left: tokens still to be chosen.
        cache_bytes: of the keys and values that it held when the newest token was chosen; 0 where the text is read
            again for each token.
        error: what has ended it early.
        way: how it is read; None before it is admitted and after it is released.
        is_admitted: whether `Core.step` brings it on; not while it is suspended.

    Raises:
        ValueError, TypeError: a value is outside what is allowed.
    """

    def __init__(self, model: GPT2, input_ids: Tensor, max_new_tokens: int, sampling: Sampling) -> None:
        check_whole_number("max_new_tokens", max_new_tokens)
        _check_ids(input_ids, model.config.vocab_size)
        self.rows = len(input_ids)
        self.left = max_new_tokens
        self.sampling = sampling
        self.generator = sampling.generator()
        self.cache_bytes = 0
        self.error: ValueError | None = None
        self.way: Way | None = None
        self.is_admitted = False
        columns = input_ids.to(model.device, copy=True).unbind(dim=1)
        self.columns: deque[Tensor] = deque(columns, maxlen=model.config.context_length)  # (B,) each
        self.tokens_read = 0
        self.past: Past | KVCache | None = None  # what it has read, unless that lies in the decoder
        self.first_row = 0  # in the decoder

    @property
    def newest(self) -> Tensor:
        """The token chosen last in each row, which is not read yet: (B,)."""
        return self.columns[-1]

    def ids(self) -> Tensor:
        """The tokens that count: (B, up to context_length)."""
        return torch.stack(tuple(self.columns), dim=1)


def _check_ids(input_ids: Tensor, vocab_size: int) -> None:
    if input_ids.ndim != 2 or input_ids.numel() == 0:
        raise ValueError(f"input_ids has shape {tuple(input_ids.shape)}; give (batch, length), at least one token")
    lowest, highest = int(input_ids.min()), int(input_ids.max())
    if lowest < 0 or highest >= vocab_size:
        raise ValueError(f"input_ids has ids from {lowest} to {highest}; this model knows 0 to {vocab_size - 1}")


class Core:
    """Continues any number of texts by one model, each as if it were alone.

    For one thread at a time, and under `torch.inference_mode()`. The model may learn on between two steps.

    Attributes:
        caching: the ways of reading that keep what they have read.
        rereading: the way that does not.
    """

    def __init__(self, model: GPT2) -> None:
        self._model = model
        self._rolls_forever = rolls_forever(model.config)
        self._decoding, self._calling = _Decoding(model), _Calling(model)
        self.caching: tuple[Way, ...] = (self._decoding, self._calling)
        self.rereading: Way = _Rereading(model)

    def admit(self, text: Text) -> None:
        """Take in a text, or take it in again after `suspend`.

        A new one is read, and its first token chosen, which may end it.

        Raises:
            Exception: whatever went wrong with this text; no other is concerned.
        """
        if text.way is None:
            way = self._way_to_begin()
            with evaluation_mode(self._model):
                logits = way.begin(text)
            text.way = way
            self._append_to([text], logits)
        if text.left > 0:
            self._place(text)

    def step(self, way: Way) -> Sequence[Text]:
        """Choose a token for the texts that are read in this way, or for some of them where all would take too long.

        Returns:
            The texts concerned. One with no tokens `left` has been released; it may have an `error`.
        """
        texts, logits = way.read()
        self._append_to(texts, logits)
        return texts

    def suspend(self, text: Text) -> None:
        """Let others have its row; the text keeps what it has read, and may be admitted again."""
        assert text.way is not None
        text.way.keep(text)
        text.way.remove(text)
        text.is_admitted = False

    def release(self, text: Text) -> None:
        """Be done with a text, wherever it is."""
        if text.is_admitted and text.way is not None:
            text.way.remove(text)
        text.is_admitted, text.way, text.past = False, None, None

    def _way_to_begin(self) -> Way:
        if not self._model.config.causal:
            return self.rereading
        return self._decoding if can_decode(self._model) else self._calling

    def _place(self, text: Text) -> None:
        assert text.way is not None
        text.way.add(text)
        text.is_admitted = True

    def _append_to(self, texts: Sequence[Text], logits: Tensor) -> None:
        """Choose each text's next token by logits (rows, vocab_size); release those that have ended."""
        if are_numbers(logits):
            chosen = _choose_for(texts, logits)
        else:
            texts, chosen = self._without_broken(texts, logits)
        for text, tokens in zip(texts, chosen, strict=True):
            self._append(text, tokens)

    def _without_broken(self, texts: Sequence[Text], logits: Tensor) -> tuple[list[Text], Sequence[Tensor]]:
        """End the texts one cannot go on with; the others, and the tokens chosen for them."""
        of_texts = logits.split([text.rows for text in texts])
        sound = [are_numbers(own) for own in of_texts]
        for text in [text for text, is_sound in zip(texts, sound, strict=True) if not is_sound]:
            text.error, text.left = ValueError(DIVERGED), 0
            self.release(text)
        if not any(sound):
            return [], []
        others = [text for text, is_sound in zip(texts, sound, strict=True) if is_sound]
        theirs = torch.cat([own for own, is_sound in zip(of_texts, sound, strict=True) if is_sound])
        return others, _choose_for(others, theirs)

    def _append(self, text: Text, tokens: Tensor) -> None:
        assert text.way is not None
        text.cache_bytes = text.way.cache_bytes(text)
        text.columns.append(tokens)
        text.left -= 1
        if text.left == 0:
            self.release(text)
        elif text.tokens_read >= self._model.config.context_length and not self._rolls_forever:
            self._read_again_from_now_on(text)

    def _read_again_from_now_on(self, text: Text) -> None:
        if text.way is self.rereading:
            return
        was_admitted = text.is_admitted
        self.release(text)
        text.way = self.rereading
        if was_admitted:
            self._place(text)


def _choose_for(texts: Sequence[Text], logits: Tensor) -> Sequence[Tensor]:
    """The next token of each text's rows, (B,) each, by logits (rows, vocab_size); texts with equal choices at once."""
    if len(texts) == 1:
        return (choose(logits, texts[0].sampling, (texts[0].generator,)),)
    alike: dict[tuple[float, int | None, float | None, int], list[int]] = {}
    for number, text in enumerate(texts):
        sampling = text.sampling
        alike.setdefault((sampling.temperature, sampling.top_k, sampling.top_p, text.rows), []).append(number)
    if len(alike) == 1:
        return _choose_alike(texts, logits)
    of_texts = logits.split([text.rows for text in texts])
    chosen: dict[int, Tensor] = {}
    for numbers in alike.values():
        some = [texts[number] for number in numbers]
        chosen.update(
            zip(numbers, _choose_alike(some, torch.cat([of_texts[number] for number in numbers])), strict=True)
        )
    return [chosen[number] for number in range(len(texts))]


def _choose_alike(texts: Sequence[Text], logits: Tensor) -> Sequence[Tensor]:
    """The same for texts with as many rows and the same choices."""
    return choose(logits, texts[0].sampling, [text.generator for text in texts]).split(texts[0].rows)


class Way(ABC):
    """A way of reading texts.

    Attributes:
        texts: those that are read so.
    """

    def __init__(self, model: GPT2) -> None:
        self.texts: list[Text] = []
        self._model = model

    @abstractmethod
    def begin(self, text: Text) -> Tensor:
        """Read the whole of a text, which is not among `texts` yet: logits (B, vocab_size)."""

    def add(self, text: Text) -> None:
        """Take in a text that has been begun, with the past that it keeps."""
        self.texts.append(text)

    def keep(self, text: Text) -> None:  # noqa: B027 (most have nothing to hold)
        """Let the text itself hold what it needs to be added again."""

    def remove(self, text: Text) -> None:
        """Forget a text."""
        self.texts.remove(text)

    @abstractmethod
    def read(self) -> tuple[Sequence[Text], Tensor]:
        """Read the newest token of some texts: these texts, and the logits of all their rows (rows, vocab_size)."""

    def cache_bytes(self, text: Text) -> int:
        """Bytes of the keys and values of a text, now."""
        return 0


class _Decoding(Way):
    """All texts at once, in the rows of a `Decoder`; they have equally many rows each."""

    def __init__(self, model: GPT2) -> None:
        super().__init__(model)
        self._decoder: Decoder | None = None  # from the first text on

    def begin(self, text: Text) -> Tensor:
        text.past, logits = read_prompt(self._model, text.ids())
        text.tokens_read = text.past.length
        return logits

    def add(self, text: Text) -> None:
        if self.texts and text.rows != self.texts[0].rows:
            raise ValueError(f"a text of {text.rows} rows among texts of {self.texts[0].rows}; give it another core")
        assert isinstance(text.past, Past)
        self._decoder = self._decoder or Decoder(self._model)
        self._decoder.slots.add(text.past)
        text.first_row, text.past = text.rows * len(self.texts), None
        super().add(text)

    def keep(self, text: Text) -> None:
        assert self._decoder is not None
        text.past = self._decoder.slots.past(text.first_row, text.rows)

    def remove(self, text: Text) -> None:
        """Forget a text; the last one, if it is another, takes its rows."""
        assert self._decoder is not None
        for row in reversed(range(text.first_row, text.first_row + text.rows)):
            self._decoder.slots.remove(row)
        last = self.texts.pop()
        if last is not text:
            self.texts[text.first_row // text.rows], last.first_row = last, text.first_row

    def read(self) -> tuple[Sequence[Text], Tensor]:
        assert self._decoder is not None
        texts = tuple(self.texts)
        newest = texts[0].newest if len(texts) == 1 else torch.cat([text.newest for text in texts])
        logits = self._decoder.read(newest)
        for text in texts:
            text.tokens_read += 1
        return texts, logits

    def cache_bytes(self, text: Text) -> int:
        if isinstance(text.past, Past):
            return text.past.held.nbytes
        assert self._decoder is not None
        return text.rows * self._decoder.slots.row_bytes(text.first_row)


class _Calling(Way):
    """One text after another, by calling the model with the text's own cache."""

    def begin(self, text: Text) -> Tensor:
        text.past = self._model.new_cache()
        text.tokens_read = len(text.columns)
        return self._model(text.ids(), cache=text.past)[:, -1]

    def read(self) -> tuple[Sequence[Text], Tensor]:
        text = self.texts.pop(0)
        self.texts.append(text)  # the others come first the next time
        assert isinstance(text.past, KVCache)
        with evaluation_mode(self._model):
            logits = self._model(text.newest[:, None], cache=text.past)[:, -1]
        text.tokens_read += 1
        return (text,), logits

    def cache_bytes(self, text: Text) -> int:
        assert isinstance(text.past, KVCache)
        return text.past.nbytes


class _Rereading(Way):
    """A few texts of one length at once, each from the first token that counts; the others come first the next time."""

    def begin(self, text: Text) -> Tensor:
        return self._model(text.ids())[:, -1].clone()

    def read(self) -> tuple[Sequence[Text], Tensor]:
        length, rows = len(self.texts[0].columns), 0
        most_rows = min(_MOST_TOKENS, _MOST_LOGITS // self._model.config.vocab_size) // length
        texts: list[Text] = []
        for text in self.texts:
            if len(text.columns) == length and (not texts or rows + text.rows <= most_rows):
                texts.append(text)
                rows += text.rows
        chosen = set(texts)
        self.texts = [text for text in self.texts if text not in chosen] + texts
        with evaluation_mode(self._model):
            ids = texts[0].ids() if len(texts) == 1 else torch.cat([text.ids() for text in texts])  # (rows, length)
            return texts, self._model(ids)[:, -1].clone()  # and let the other logits go
