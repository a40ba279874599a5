"""Run in a repository's environment, with the runtime on the path: rows through real tokenizers and chat templates.

Reads lines, each a JSON list of cases `{"model", "kwargs", "thinking", "rows"}`, each row a list of messages, and prints for each
what a training would show of its last row, what is served, and the trained text; or the refusal.
"""

import functools
import json
import sys
from typing import Any

from tunesmith_runtime.chat import Chat, Row, encode_row, prompt_ids
from tunesmith_runtime.chat_template import Thinking
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.preflight import preflight, render_sample
from tunesmith_runtime.pretrained import load_chat


@functools.cache
def load(model: str, kwargs: str, thinking: Thinking | None) -> Chat:
    return load_chat(model, "main", json.loads(kwargs), thinking)


def main(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What comes of each case."""
    results = []
    for case in cases:
        try:
            chat = load(case["model"], json.dumps(case["kwargs"]), case["thinking"])
            rows = [Row(messages, f"rows.jsonl:{number}") for number, messages in enumerate(case["rows"], 1)]
            preflight(chat, rows, 4096, 0.0)
            example = encode_row(chat, rows[-1])[-1]
            served = prompt_ids(chat.tokenizer, rows[-1].messages[:-1])
            assert example.input_ids[: len(served)] == served
            answer = chat.answer(rows[-1].messages[-1]["content"])  # as evaluation compares it
            results.append({"sample": render_sample(chat.tokenizer, example), "answer": answer})
        except UserError as error:
            results.append({"error": str(error)})
    return results


if __name__ == "__main__":
    for line in sys.stdin:
        print(f"=> {json.dumps(main(json.loads(line)))}", flush=True)
