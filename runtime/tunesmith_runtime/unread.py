"""What rows ask for beside their texts, and training would leave out without a word."""

from __future__ import annotations

from typing import Any

# Columns that change what is trained where they are usual: in TRL, Axolotl, LLaMA-Factory, OpenAI's
# fine-tuning, Alpaca, Dolly, ShareGPT and OpenOrca. Every other column may hold what it likes.
UNREAD_COLUMNS = frozenset(
    [
        *("tools", "functions", "tool_calls", "function_call"),
        *("system", "system_prompt", "system_message", "chat_template_kwargs"),
        *("instruction", "input", "context", "history", "documents"),
        *("reasoning", "reasoning_content", "thinking"),
        *("image", "images", "video", "videos", "audio", "audios"),
        *("label", "kto_tag", "weight", "loss_mask", "completion_mask", "assistant_masks"),
    ]
)
# Keys of a message that no chat template shows. Any other may be part of what a template renders.
OF_NO_TEMPLATE = frozenset(["id", "message_id", "parent_id", "timestamp", "created_at"])
# Where these are 1 or true, a row or a message counts as every other one does.
SWITCHES = frozenset(["weight", "train", "training", "loss"])


def is_missing(value: Any) -> bool:
    """Whether there is no value: null, or NaN, which pandas writes in its place."""
    return value is None or (isinstance(value, float) and value != value)  # noqa: PLR0124


def asks(key: str, value: Any) -> bool:
    """Whether the value of a column or of a message's key asks for something."""
    on = key.strip().lower() in SWITCHES and str(value).strip().lower() in ("1", "1.0", "true")
    left = [] if on else [value]
    while left:  # JSON nests deeper than functions can
        value = left.pop()
        if isinstance(value, list):
            left += value
        elif isinstance(value, dict):
            left += value.values()
        # A list, say, may be written as text.
        elif not is_missing(value) and str(value).strip() not in (
            "",
            "[]",
            "{}",
            "null",
            "NaN",
            "nan",
        ):
            return True
    return False
