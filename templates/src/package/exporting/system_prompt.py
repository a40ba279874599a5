"""The system prompt of training, for requests that bring none."""

import json


def with_system_prompt(template: str, text: str) -> str:
    """The chat template, with a system message put before conversations that have none."""
    # JSON is a literal of Jinja's too.
    message = json.dumps({"role": "system", "content": text}, ensure_ascii=False)
    return (
        "{%- if not messages or messages[0].role != 'system' -%}"
        f"{{%- set messages = [{message}] + messages -%}}"
        "{%- endif -%}" + template
    )
