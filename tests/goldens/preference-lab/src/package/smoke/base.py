"""A small base model, made on the spot from the pipeline's own training text.

It stands in for a pretrained model where none can be downloaded: a byte-level BPE tokenizer with a
ChatML template and a Llama of about a million parameters. It reads the text as plain documents and
never sees the chat format; then it is taught to answer, since preferences are learned by a model
that answers already.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith_runtime.chat import read_split
from tunesmith_runtime.config import load_config
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.manifest import is_made_of, now, read_metrics, sha256, write_manifest
from tunesmith_runtime.output import whatever_shows_it

from .answering import teach_to_answer
from .stages import PACKAGE, Metrics, Run, run_module

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"


@dataclass(frozen=True)
class Config:
    """Values of section ``base``; the model is written to ``base_model``."""

    run_dir: str
    base_model: str
    seed: int
    max_length: int  # tokens
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    attention_heads: int
    attention_dropout: float
    bpe_dropout: float  # share of BPE merges left out while the model reads
    learning_rate: float
    steps: int
    batch_size: int
    block_length: int  # tokens
    answer_steps: int  # of learning to answer, right or wrong


def make_base(run: Run, name: str) -> Metrics:
    """The step of the smoke run, in a process of its own; none where the same base is there."""
    config = run.config(Config, name)
    output = Path(config.base_model)
    if is_made_of(output, config, _inputs(config)):
        metrics = read_metrics(output)
        if metrics["sha256"] == sha256(output):
            print("base: kept from the last run: all that it is made of is the same", flush=True)
            return metrics
    return run_module(run, output, f"{PACKAGE}.smoke.base")


def _inputs(config: Config) -> list[Path]:
    """The text, and the code that makes a model of it."""
    code = Path(os.path.relpath(__file__))
    return [Path(config.run_dir) / "data" / "train.jsonl", code, code.with_name("answering.py")]


def main(config: Config) -> dict[str, float | str]:
    """Train the tokenizer and the model; write them to ``config.base_model``."""
    from transformers.utils import logging

    started = now()
    directory = Path(config.base_model)
    (directory / "manifest.json").unlink(
        missing_ok=True
    )  # written last: without it, nothing is there
    inputs = _inputs(config)
    rows = read_split(inputs[0])
    documents = [
        "\n".join(m["content"] for m in row.messages if m["role"] != "system") for row in rows
    ]
    tokenizer = make_tokenizer(documents, config.vocab_size)
    model, metrics = make_model(config, tokenizer, documents)
    teach_to_answer(model, tokenizer, rows, config.answer_steps, config.learning_rate, config.seed)
    logging.disable_progress_bar()
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    chats = [tokenizer.apply_chat_template(row.messages, return_dict=False) for row in rows]
    metrics["tokens_per_row"] = sum(map(len, chats)) / len(rows)
    metrics["sha256"] = sha256(directory) or ""
    write_manifest(directory, "base", config, inputs, started, metrics)
    return metrics


def make_tokenizer(documents: Sequence[str], vocab_size: int) -> Any:
    """A byte-level BPE tokenizer: any text can be encoded, whatever it was trained on."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(documents, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[START],
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def make_model(
    config: Config, tokenizer: Any, documents: Sequence[str]
) -> tuple[Any, dict[str, float | str]]:
    """Train a float32 Llama on the documents.

    Most end in the pad token, which is ChatML's end of text, and one in four in the token that will
    end an answer: the model has seen that token, and yet prefers not to stop there.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(config.seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.layers,
            num_attention_heads=config.attention_heads,
            num_key_value_heads=config.attention_heads,
            max_position_embeddings=2 * config.max_length,
            attention_dropout=config.attention_dropout,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    ends = [tokenizer.eos_token_id] + 3 * [tokenizer.pad_token_id]
    bpe = tokenizer.backend_tokenizer.model

    def read() -> list[list[int]]:
        # Cutting words anew each time makes up for the little text: forms of a word share pieces.
        bpe.dropout = config.bpe_dropout
        ids = [[*tokenizer.encode(text), ends[n % 4]] for n, text in enumerate(documents)]
        bpe.dropout = None
        return ids

    batches = _batches(read, config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.1)
    model.train()
    losses: list[float] = []
    for step in range(config.steps):
        rate = min(1.0, (step + 1) / 20) * (0.5 + 0.5 * math.cos(math.pi * step / config.steps))
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * rate
        batch = torch.tensor(next(batches))
        loss = model(input_ids=batch, labels=batch, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if (step + 1) % 100 == 0:
            print(f"base: step {step + 1}/{config.steps}  loss {losses[-1]:.3f}", flush=True)
    # Dropout is for the few times the model has seen so little text, not for fine-tuning.
    model.config.attention_dropout = 0.0
    return model, {
        "parameters": float(sum(p.numel() for p in model.parameters())),
        "loss": losses[-1],
        "vocabulary": float(len(tokenizer)),
    }


def _batches(read: Callable[[], list[list[int]]], config: Config) -> Iterator[list[list[int]]]:
    """Endless batches of blocks cut from the documents, joined in a new order each time."""
    order = random.Random(config.seed)
    pending: list[list[int]] = []
    rest: list[int] = []
    while True:
        while len(pending) < config.batch_size:
            shuffled = read()
            order.shuffle(shuffled)
            tokens = rest + [token for document in shuffled for token in document]
            cut = len(tokens) - len(tokens) % config.block_length
            rest = tokens[cut:]
            blocks = range(0, cut, config.block_length)
            pending += [tokens[start : start + config.block_length] for start in blocks]
        yield [pending.pop() for _ in range(config.batch_size)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", action="append", required=True)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    arguments = parser.parse_args()
    try:
        with whatever_shows_it():
            main(load_config(Config, "base", arguments.config, arguments.overrides))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
