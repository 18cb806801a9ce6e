"""Trains a byte-level BPE tokenizer that behaves like ModernBERT's; knows nothing of the model.

Names that must be one token (one `[MASK]` can only be answered by one token) are secured by
counting them often enough in the training of the merges.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer

from mbexplore.errors import ModelError, TextError

SPECIAL_TOKENS = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")
"""In the order of their ids, from 0 on."""

WORD_COUNT = 400
"""How often a listed name is added to the counts at first; doubled until it is one token."""


def build_tokenizer(
    texts: Sequence[str], vocab_size: int, words: Sequence[str] = (), *, rounds: int = 6
) -> Tokenizer:
    """Trains the vocabulary on `texts`, with every one of `words` a single token after a space.

    Args:
        texts: paragraphs.
        vocab_size: with the special tokens; a small text may give fewer.
        words: names that have to be one token, as in " Tokyo".
        rounds: how often the counts of names still split are raised before giving up.

    Raises:
        TextError: some names are still split; the vocabulary is too small for the list.
    """
    counts = dict.fromkeys(words, WORD_COUNT)
    for _ in range(rounds):
        tokenizer = _train(_with_words(texts, counts), vocab_size)
        split = split_words(tokenizer, words)
        if not split:
            return tokenizer
        for word in split:
            counts[word] *= 4
    raise TextError(
        f"{len(split)} of {len(words)} names are still split ({', '.join(split[:5])}, ...); "
        f"raise --vocab-size over {vocab_size:,} or shorten --words."
    )


def split_words(tokenizer: Tokenizer, words: Iterable[str]) -> list[str]:
    """Those of `words` that are more than one token after a space."""
    return [
        word
        for word in words
        if len(tokenizer.encode(" " + word, add_special_tokens=False).ids) != 1
    ]


def special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """The ids of the special tokens, by name.

    Raises:
        ModelError: the tokenizer lacks one.
    """
    ids: dict[str, int] = {}
    for token in SPECIAL_TOKENS:
        found = tokenizer.token_to_id(token)
        if found is None:
            raise ModelError(
                f"The tokenizer lacks {token}; give one made by mbexplore train to --tokenizer."
            )
        ids[token] = found
    return ids


def _with_words(texts: Iterable[str], counts: dict[str, int]) -> Iterator[str]:
    repeated = (" " + " ".join([word] * count) for word, count in counts.items())
    return itertools.chain(texts, repeated)


def _train(texts: Iterator[str], vocab_size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = [
        AddedToken(token, special=True, normalized=False, lstrip=token == "[MASK]")
        for token in SPECIAL_TOKENS
    ]
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    ids = {token: tokenizer.token_to_id(token) for token in SPECIAL_TOKENS}
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    return tokenizer


def tokenizer_config_json(max_length: int) -> str:
    """The tokenizer_config.json with which transformers opens the folder unchanged."""
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_length,
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "mask_token": "[MASK]",
    }
    return json.dumps(config, indent=2) + "\n"
