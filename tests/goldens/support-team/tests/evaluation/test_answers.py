"""Answers: the most likely ones, whatever shares a batch."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from tunesmith_runtime.chat import Chat

from support_assistant.evaluation.answers import greedy_answers


def test_answers_come_in_the_order_of_their_prompts_however_they_share_batches(
    project: Path,
) -> None:
    model = AutoModelForCausalLM.from_pretrained(project / "base")
    torch.manual_seed(0)
    for parameter in model.parameters():  # else it says the same whatever it is asked
        torch.nn.init.normal_(parameter)
    tokenizer = AutoTokenizer.from_pretrained(project / "base")
    chat = Chat(tokenizer, [])
    prompts = [
        tokenizer(text * n)["input_ids"] for n, text in ((9, "a b "), (1, "Where? "), (4, "no "))
    ]
    alone = [greedy_answers(model, chat, [prompt], 8, 1, "alone") for prompt in prompts]
    together = greedy_answers(model, chat, prompts, 8, 2, "together")
    assert together == [answer for (answer,) in alone]
    assert len(set(together)) == 3
