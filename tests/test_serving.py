"""What the generated FastAPI server takes and refuses, beside what clients and other servers know.

`client_requests.json` holds what real clients sent to a local port, a request a line, and the parameter that is refused.
"""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from openai.types import chat, completion_create_params
from openai.types.chat import completion_create_params as chat_create_params

from conftest import PIPELINE_PYTHON, PROJECT, VLLM_PYTHON, require
from repositories import NO_SEARCH, QUICK, generate, make_base, offline, settings, stage

sys.path.insert(0, str(PROJECT / "templates" / "src"))
from package.serving import protocol

GUIDE = (PROJECT / "templates" / "docs" / "serve_fastapi.md").read_text(encoding="utf-8")
CHAT, COMPLETION = protocol.ChatCompletionBody, protocol.CompletionBody
LEAST: dict[Any, dict[str, Any]] = {
    CHAT: {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]},
    COMPLETION: {"model": "tiny", "prompt": "hello"},
}
REQUESTS = json.loads((PROJECT / "tests" / "client_requests.json").read_text(encoding="utf-8"))
MESSAGES = get_args(chat.ChatCompletionMessageParam)
# Every place of a request that has parameters of its own: what OpenAI's SDK sends there, and what the server knows.
PLACES = {
    "chat": ([chat_create_params.CompletionCreateParamsStreaming], CHAT),
    "completion": ([completion_create_params.CompletionCreateParamsStreaming], COMPLETION),
    "message": (MESSAGES, protocol.ChatMessage),
    "part of text": ([chat.ChatCompletionContentPartTextParam], protocol.TextPart),
    "stream options": ([chat.ChatCompletionStreamOptionsParam], protocol.StreamOptions),
    "response format": ([chat.completion_create_params.ResponseFormatText], protocol.ResponseFormat),
}


def rows(kind: Any) -> list[tuple[Any, str, tuple[Any, ...]]]:
    return [(kind, name, values) for name, values in kind.not_honoured.items()]


def refusal(kind: Any, **changes: Any) -> Any:
    """What is refused about a request that is right but for the changes; None where it is taken."""
    try:
        protocol.parse(json.dumps({**LEAST[kind], **changes}).encode(), kind)
    except protocol.APIError as error:
        return error
    return None


@pytest.mark.parametrize("place", PLACES)
def test_every_parameter_of_openais_sdk_is_honoured_or_in_the_tables(place: str) -> None:
    """So a new one, which comes with an upgrade, has to be decided upon."""
    typed_dicts, body = PLACES[place]
    sent = {name for typed_dict in typed_dicts for name in typed_dict.__annotations__}
    assert sent - set(body.model_fields) - set(body.not_honoured) == set()
    assert not set(body.model_fields) & set(body.not_honoured), "honoured, or not?"


@pytest.mark.parametrize(("kind", "name", "values"), rows(CHAT) + rows(COMPLETION))
def test_what_asks_for_nothing_is_taken_and_all_else_refused_by_name(kind: Any, name: str, values: Any) -> None:
    for value in ("", "a label") if values == protocol.LABEL else values:
        assert refusal(kind, **{name: value}) is None
    assert refusal(kind, **{name: None}) is None
    for value in (7, [7], {"7": 7}, "7", True, False, [], {}, 0.5):
        if not protocol.asks_for_nothing(value, values):
            refused = refusal(kind, **{name: value})
            assert (refused.status, refused.param) == (400, name)
            assert refused.code == ("invalid_value" if values else "unsupported_parameter")
            assert f"'{name}'" in refused.message


@pytest.mark.parametrize(("_", "name", "values"), rows(protocol.ChatMessage))
def test_a_message_may_have_what_says_nothing(_: Any, name: str, values: Any) -> None:
    def asked(value: Any) -> Any:
        answer = {"role": "assistant", "content": "Hello!", name: value}
        return refusal(CHAT, messages=[*LEAST[CHAT]["messages"], answer])

    for value in (None, *(("ann",) if values == protocol.LABEL else values)):
        assert asked(value) is None
    assert asked([7]).param == f"messages[1].{name}"


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}, "messages[0].tool_calls"),
        ({"role": "assistant", "content": None, "refusal": "No."}, "messages[0].refusal"),
        ({"role": "tool", "content": "4", "tool_call_id": "1"}, "messages[0].role"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "messages[0].content[0].type"),
    ],
)
def test_a_message_that_says_something_else_is_refused_for_that(message: Any, param: str) -> None:
    assert refusal(CHAT, messages=[message]).param == param


@pytest.mark.parametrize("kind", [CHAT, COMPLETION])
def test_true_is_not_one_and_false_not_zero(kind: Any) -> None:
    for name, value in {"n": True, "min_p": False, "store": 0, "presence_penalty": False, "ignore_eos": 0}.items():
        assert refusal(kind, **{name: value}).param == name


@pytest.mark.parametrize("name", ["frobnicate", "Temperature", "extra_body", "guided_json"])
def test_an_unknown_parameter_is_refused_by_name_unless_it_is_null(name: str) -> None:
    assert refusal(CHAT, **{name: {}}).code == "unsupported_parameter"
    assert refusal(CHAT, **{name: None}) is None


def test_the_guide_names_every_parameter() -> None:
    for body in (CHAT, COMPLETION, protocol.ChatMessage, protocol.TextPart, protocol.StreamOptions):
        missing = [name for name in (*body.model_fields, *body.not_honoured) if f"`{name}`" not in GUIDE]
        assert not missing, f"{missing} are not in docs/serve_fastapi.md"


@pytest.mark.parametrize("request_", REQUESTS, ids=[f"{sent['client']}: {sent['call']}" for sent in REQUESTS])
def test_what_clients_send_is_understood(request_: dict[str, Any]) -> None:
    kind = CHAT if "chat" in request_["path"] else COMPLETION
    refused = refusal(kind, **request_["body"])
    assert (refused and refused.param) == request_["refused"]


@pytest.mark.pipeline
def test_vllms_own_defaults_are_taken_when_they_are_spelled_out() -> None:
    """Clients that were written for vLLM send what it has; and vLLM takes each value that asks for nothing here."""
    code = (
        "import json, sys\n"
        "from pydantic_core import PydanticUndefined\n"
        "from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest\n"
        "from vllm.entrypoints.openai.completion.protocol import CompletionRequest\n"
        "for kind, (body, table) in zip((ChatCompletionRequest, CompletionRequest), json.load(sys.stdin)):\n"
        "    for name, values in table.items():\n"
        "        for value in values:\n"
        "            kind.model_validate({**body, name: value})\n"
        "    fields = kind.model_fields.items()\n"
        "    print(json.dumps({n: f.default for n, f in fields if f.default is not PydanticUndefined}))\n"
    )
    kinds, sent = (CHAT, COMPLETION), []
    for kind in kinds:
        table = {name: ("x",) if values == protocol.LABEL else values for name, values in kind.not_honoured.items()}
        sent.append((LEAST[kind], table | {"tools": (), "tool_choice": ("none",)}))  # the others are errors there
    line = [require(VLLM_PYTHON), "-c", code]
    done = subprocess.run(line, input=json.dumps(sent), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    for kind, output in zip(kinds, done.stdout.splitlines()[-2:], strict=True):
        defaults = {name: value for name, value in json.loads(output).items() if name not in LEAST[kind]}
        assert defaults["ignore_eos"] is False
        assert refusal(kind, **defaults) is None


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A generated server; its model knows next to nothing, and has a way of its own to pick tokens."""
    root = generate(tmp_path_factory.mktemp("served") / "support", **NO_SEARCH)
    stage(root, "data", *settings())
    make_base(root, *QUICK)
    export = (root / "runs" / "smoke" / "base").rename(root / "runs" / "smoke" / "export")
    own = export / "generation_config.json"
    picks = {"do_sample": True, "top_k": 1, "repetition_penalty": 9.0}
    own.write_text(json.dumps(json.loads(own.read_text(encoding="utf-8")) | picks), encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    values = settings(f"serve.port={port}", "serve.model_name=tiny", "serve.max_new_tokens=300")
    line = [str(PIPELINE_PYTHON), "-m", "support_assistant", "serve", *values]
    process = subprocess.Popen(line, cwd=root, env=offline(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120
    while not is_ready(url):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield url
    process.terminate()
    process.communicate(timeout=30)


def is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/ready", timeout=5):
            return True
    except OSError:
        return False


def post(url: str, body: dict[str, Any]) -> tuple[int, str]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.pipeline
def test_what_clients_send_is_answered_or_refused_by_name(url: str) -> None:
    for sent in REQUESTS:
        body = sent["body"] if "max_completion_tokens" in sent["body"] else {"max_tokens": 2, **sent["body"]}
        status, text = post(url + sent["path"], body)
        if sent["refused"]:
            assert (status, json.loads(text)["error"]["param"]) == (400, sent["refused"]), sent
        else:
            assert status == 200, (sent, text)
            assert text.endswith("data: [DONE]\n\n") if body.get("stream") else json.loads(text)["choices"]


@pytest.mark.pipeline
@pytest.mark.parametrize(("path", "kind"), [("/v1/chat/completions", CHAT), ("/v1/completions", COMPLETION)])
def test_values_that_ask_for_nothing_are_answered(url: str, path: str, kind: Any) -> None:
    """All of them at once, over HTTP."""
    table = kind.not_honoured.items()
    nothing = {name: "ann" if values == protocol.LABEL else values[0] for name, values in table if values}
    status, text = post(url + path, {**nothing, **LEAST[kind], "max_tokens": 2})
    assert status == 200, text


@pytest.mark.pipeline
def test_a_request_can_switch_off_what_the_models_own_config_switches_on(url: str) -> None:
    """A penalty of 1 and a top_k of -1 ask for something where generation_config.json says otherwise."""

    def answer(**changes: Any) -> str:
        body = {**LEAST[COMPLETION], "max_tokens": 40, "seed": 1, **changes}
        return str(json.loads(post(f"{url}/v1/completions", body)[1])["choices"][0]["text"])

    likeliest = answer(temperature=0, repetition_penalty=1.0)
    assert answer(temperature=0) != likeliest
    assert answer(temperature=2, repetition_penalty=1) == likeliest
    for top_k in (-1, 0):
        assert answer(temperature=2, repetition_penalty=1, top_k=top_k) != likeliest
