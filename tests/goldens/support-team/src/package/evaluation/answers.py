"""Generated answers, always the most likely token, many prompts at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from transformers import GenerationConfig
from tunesmith_runtime.chat import Chat


def greedy_answers(
    model: Any,
    chat: Chat,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    batch_size: int,
    label: str,
) -> list[str]:
    """The most likely answer to each prompt's token ids, in the order of the prompts.

    Prints a line of progress, which begins with ``label``, for each batch.
    """
    # A fresh config: the model's own may sample or penalise repetition.
    greedy = GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=list(chat.stop_ids),
        pad_token_id=chat.tokenizer.pad_token_id,
    )
    # Prompts of like length share a batch, so that little is spent on padding.
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    answers = [""] * len(prompts)
    begin = time.monotonic()
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        # On the left: new tokens are appended on the right.
        batch = {"input_ids": [prompts[place] for place in places]}
        padded = chat.tokenizer.pad(batch, padding_side="left", return_tensors="pt").to(
            model.device
        )
        with torch.no_grad():
            output = model.generate(**padded, generation_config=greedy)
        new_tokens = output[:, padded["input_ids"].shape[1] :]
        said = [chat.answer_ids(ids) for ids in new_tokens.tolist()]
        texts = chat.tokenizer.batch_decode(said, skip_special_tokens=True)
        for place, text in zip(places, texts, strict=True):
            answers[place] = text
        seconds = time.monotonic() - begin
        print(f"{label}: {start + len(places)}/{len(order)} answers, {seconds:.0f} s", flush=True)
    return answers
