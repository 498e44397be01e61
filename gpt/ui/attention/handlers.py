"""What the Attention tab's controls do: plain functions of their values."""

from __future__ import annotations

import itertools
import secrets
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr

from gpt.model.config import GPTConfig
from gpt.runs.limits import MOST_LOOKS
from gpt.ui.catalogue import Catalogue, at_step
from gpt.ui.door.asking import asking
from gpt.ui.door.files import Files
from gpt.ui.limiter import COMPUTING
from gpt.ui.requests import one_sentence, require_text, require_whole, sentence

# What needs PyTorch is imported where it is used, because the page is made before PyTorch is loaded.
if TYPE_CHECKING:
    from gpt.interpret import Ablation
    from gpt.ui.attention.views import Look

EMPTY_BELOW = {"empty": "Press Look above: what is measured in the model will appear here."}
NO_SECOND = ("none", "")
_MOST_LOOKS_OF_PAGE = 4  # what it measures of the one before may still be on its way
_LONGEST_SENT = 100_000  # characters that are read at all, to say by how much a text is too long


class AttentionHandlers:
    """What the tab's buttons do; plain functions of the controls' values, so that tests can call them.

    `look` remembers what is looked at and gives it a key, by which the other handlers find it: so all that is on the
    page is about the same weights, even while these go on learning.
    """

    def __init__(self, catalogue: Catalogue, files: Files) -> None:
        self.catalogue = catalogue
        self.files = files
        self._looks: OrderedDict[str, Look] = OrderedDict()
        self._turns = itertools.count()
        self._latest: OrderedDict[str, int] = OrderedDict()  # of each page: the turn of the look it asked for last

    def look(self, name: Any, second: Any, text: Any, looked: Any = None) -> tuple[Any, ...]:
        """Look at a text with one model or two.

        Args:
            name: of the model, as the catalogue knows it.
            second: of another, to stand beside it; "" for none.
            text: what they read.
            looked: what the tab remembers of its look before.

        Returns:
            Values for `attention_map` and `step_slider`, and what the tab remembers: a key, and the names.
        """
        with one_sentence():
            return self._look(name, second, text, looked)

    def _look(self, name: Any, second: Any, text: Any, looked: Any) -> tuple[Any, ...]:
        from gpt.ui.attention import views

        turn = self._next_turn(asking().page)
        models = [self.catalogue.get(one) for one in ([name] if second in ("", None) else [name, second])]
        look = views.take_look(models, require_text("the text", text, _LONGEST_SENT))
        if isinstance(looked, list) and looked and looked[0] in self._looks:
            self._looks[looked[0]].is_past = True
        look.page = asking().page
        key = secrets.token_hex(8)
        self._looks[key] = look
        of_page = [known for known, other in list(self._looks.items()) if look.page and other.page == look.page]
        for known in of_page[:-_MOST_LOOKS_OF_PAGE]:
            self._looks.pop(known, None)
        while len(self._looks) > MOST_LOOKS:
            self._looks.popitem(last=False)
        steps = self.catalogue.steps(name)
        step = self.catalogue.step_of(name)
        slider = {
            "steps": steps,
            "index": steps.index(step) if step in steps else 0,
            "label": f"As it learned, {look.first.label}",
        }
        with COMPUTING:
            view = views.map_view(look)
        if turn != self._latest.get(look.page, turn):
            look.is_past = True  # the page has asked for another meanwhile, whose answer may be there already
            return gr.skip(), gr.skip(), gr.skip()
        return view, slider, [key, name, second]

    def _next_turn(self, page: str) -> int:
        """Of a look that begins now: looks take different times, and what was asked last is to be seen last."""
        turn = next(self._turns)
        if page:
            self._latest[page] = turn
            self._latest.move_to_end(page)
            while len(self._latest) > MOST_LOOKS:
                self._latest.popitem(last=False)
        return turn

    def look_at_step(self, looked: Any, chosen: gr.EventData) -> tuple[Any, ...]:
        """The same look at another step of the first model's training."""
        with one_sentence():
            key, name, second = self._remembered(looked)
            steps = self.catalogue.steps(name)
            if not steps:
                raise ValueError("no other steps of this model are kept; choose one that was trained here")
            step = require_whole("the step", getattr(chosen, "step", None), 0, steps[-1])
            return self._look(at_step(name, step), second, self._looks[key].text, looked)

    def measure(self, looked: Any) -> tuple[Any, ...]:
        """The numbers of every head, the receptive field of the last token, and what is expected after the text.

        Last comes what `head_numbers` needs to ask for its own.
        """
        from gpt.ui.attention import views

        if looked is None:
            return (EMPTY_BELOW,) * 4
        with one_sentence(), COMPUTING:
            look = self._find(looked)
            shown = (
                views.heads_view(look),
                views.field_view(look, len(look.tokens) - 1),
                views.outcomes_view(look),
                views.unasked_numbers(look),
            )
            # A look that came meanwhile has views of its own, which this must not come after.
            return tuple(gr.skip() for _ in shown) if look.is_past else shown

    def ablate_each(self, looked: Any) -> Iterator[Any]:
        """What ablating each head costs, one layer after another."""
        from gpt.interpret import ablation_costs
        from gpt.ui.attention import views

        if looked is None:
            yield EMPTY_BELOW
            return
        with one_sentence():
            look = self._find(looked)
            if len(look.ids) < 2:
                yield {"empty": "A text of one token has no loss to compare; give a longer one."}
                return
            with COMPUTING:
                view = views.ablation_view(look)
            yield view
            if look.ablations or not views.can_ablate_all(look.config, len(look.ids)):
                return  # measured before; or large, where heads are ablated by hand alone
            layers = ablation_costs(look.first.model, look.ids)
            measured: list[Ablation] = []
            while not look.is_past:
                with COMPUTING:
                    layer = next(layers, None)
                    if layer is None:
                        return
                    measured.append(layer)
                    look.ablations = list(measured)
                    view = views.ablation_view(look)
                yield view

    def ablate(self, looked: Any, chosen: gr.EventData) -> tuple[str, dict[str, Any]]:
        """Ablate these heads of the first model, and no others: the change of its loss and of what it expects."""
        from gpt.ui.attention import views

        with one_sentence():
            look = self._find(looked)
            heads = _head_list("heads", getattr(chosen, "heads", None))
            kv_heads = _head_list("KV heads", getattr(chosen, "kv_heads", None))
            before = look.heads, look.kv_heads
            look.heads, look.kv_heads = heads, kv_heads
            try:
                with COMPUTING:
                    return views.ablation_view(look), views.outcomes_view(look)
            except ValueError:
                look.heads, look.kv_heads = before
                raise

    def trace(self, looked: Any, chosen: gr.EventData) -> str:
        """What can reach the output at the chosen token, and what does."""
        from gpt.ui.attention import views

        with one_sentence():
            look = self._find(looked)
            position = require_whole("the token", getattr(chosen, "position", None), 0, len(look.ids) - 1)
            with COMPUTING:
                return views.field_view(look, position)

    def follow(self, looked: Any, chosen: gr.EventData) -> Any:
        """How the attention of one query of one head of the first model comes about, in numbers."""
        from gpt.ui.attention import views

        with one_sentence():
            look = self._find(looked)
            layer = require_whole("the layer", getattr(chosen, "layer", None), 0, look.config.num_layers - 1)
            head = require_whole("the head", getattr(chosen, "head", None), 0, look.config.num_heads - 1)
            position = require_whole("the token", getattr(chosen, "position", None), 0, len(look.ids) - 1)
            with COMPUTING:
                view = views.numbers_view(look, layer, head, position)
            return gr.skip() if look.is_past else view

    def export(self, looked: Any, chosen: Any) -> list[str]:
        """Pictures and weights of the first model's attention; `chosen` is "layer,head" of the large map."""
        from gpt.interpret import attention_maps
        from gpt.runs.exports import export_attention

        with one_sentence():
            look = self._find(looked)
            head = head_in_text(chosen, look.config)
            with COMPUTING:
                weights = attention_maps(look.first.model, look.ids[None])[:, 0]
            files = export_attention(weights, look.config, look.tokens, head, look.first.label, self.files.new_folder())
            return [str(path) for path in files]

    def _find(self, looked: Any) -> Look:
        return self._looks[self._remembered(looked)[0]]

    def _remembered(self, looked: Any) -> list[Any]:
        if not isinstance(looked, list) or len(looked) != 3 or looked[0] not in self._looks:
            raise ValueError("there is nothing to look into, or it has been forgotten; press Look")
        return looked

    def opened(
        self, seen: Any, name: Any, second: Any, text: Any, looked: Any = None, asked_step: Any = None
    ) -> tuple[Any, ...]:
        """On opening the tab: the models there are now, and the chosen one's attention, or why there is none.

        What is chosen and still there is not sent back: by now the page may have chosen another.

        Args:
            seen: the runs that the visitor has watched, and their uploads.
            name: of the model, as `look` takes it.
            second: likewise.
            text: likewise.
            looked: likewise.
            asked_step: of the first model's training, that a link asks for; None for its best.

        Returns:
            Both lists of models, what `look` returns, and None: the step is asked for once.
        """
        choices = self.catalogue.choices(seen, snapshots=False, also=[name, second])
        there = [known for _, known in choices]
        chosen = name if name in there else (there[0] if there else None)
        also = second if second in there else ""
        lists = _list_of(choices, chosen, name), _list_of([NO_SECOND, *choices], also, second)
        if chosen is None:
            return *lists, gr.skip(), gr.skip(), gr.skip(), None
        try:
            if asked_step in self.catalogue.steps(chosen):
                chosen = at_step(chosen, asked_step)
            return *lists, *self._look(chosen, also, text, looked), None
        except ValueError as error:
            return *lists, {"empty": sentence(error)}, {"steps": [], "index": 0, "label": ""}, None, None


def _list_of(choices: list[tuple[str, str]], value: Any, shown: Any) -> dict[str, Any]:
    """New choices of a list, and a value only where it is to show another than it does."""
    return gr.update(choices=choices) if value == shown else gr.update(choices=choices, value=value)


def _head_list(what: str, value: Any) -> list[tuple[int, int]]:
    """Pairs of layer and head as a page sends them; raises ValueError in a sentence."""
    if not isinstance(value, list) or len(value) > 10_000:
        raise ValueError(f"the {what} are {value!r:.80}; give a list of pairs of layer and head")
    pairs = []
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueError(f"one of the {what} is {pair!r:.80}; give a pair of layer and head")
        pairs.append((require_whole("the layer", pair[0], 0, 999), require_whole("the head", pair[1], 0, 999)))
    return list(dict.fromkeys(pairs))


def head_in_text(text: Any, config: GPTConfig) -> tuple[int, int]:
    """(layer, head) of "layer,head"; the first head where the text says anything else."""
    layer, _, head = str(text).partition(",")
    if not (layer.isdecimal() and head.isdecimal() and len(layer) < 4 and len(head) < 4):
        return 0, 0
    return min(int(layer), config.num_layers - 1), min(int(head), config.num_heads - 1)
