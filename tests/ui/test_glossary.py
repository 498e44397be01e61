"""The words of the field: short, each defined once, and those that the page needs."""

from __future__ import annotations

import re

from gpt.ui.glossary import GLOSSARY, OTHER_MEANINGS, glossary_value

WORDS = [word for words in GLOSSARY.values() for word in words]


def test_a_definition_is_at_most_two_short_sentences() -> None:
    for word in WORDS:
        assert word.meaning.endswith("."), word
        assert len(re.findall(r"\.(?: |$)", word.meaning)) <= 2, word
        assert len(word.meaning) <= 150, (len(word.meaning), word)


def test_a_form_belongs_to_one_word() -> None:
    forms = [form.lower() for word in WORDS for form in (word.name, *word.also)]
    assert len(forms) == len(set(forms)), {form for form in forms if forms.count(form) > 1}
    assert not set(forms) & set(OTHER_MEANINGS)


def test_the_page_is_sent_every_word_and_the_forms_to_look_for() -> None:
    sent = [word for group in glossary_value()["groups"] for word in group["words"]]
    assert [(word["name"], word["meaning"]) for word in sent] == [(word.name, word.meaning) for word in WORDS]
    forms = {form for word in sent for form in word["forms"]}
    assert {"nats", "KV heads", "RoPE", "perplexity", "queries", "keys", "logits", "window"} <= forms
    assert "bit" not in forms  # "a bit" is everyday English
