"""A real server on a loopback port, asked with OpenAI's own client."""

import concurrent.futures
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast
from tunesmith_runtime.errors import UserError

from support_assistant.serve import Config, main
from support_assistant.serving.engine import Engine, Generation, QueueFullError, SamplingParams
from support_assistant.serving.protocol import BEYOND_OPENAI, LABEL, MESSAGE, OPENAI, Table

REPOSITORY = Path(__file__).parents[1]
KEY = "sk-local"
PAIRS = {
    "hello": "Hello! How can I help you today?",
    "안녕": "안녕하세요! 무엇을 도와드릴까요? 😀👍🏽 fin",
    "count": "one two three four five six seven eight nine ten",
}
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ENDLESS = "la la la"
OTHERS = [f"{word} {number}?" for number in range(3) for word in ("hello", "count to", "안녕", "x")]


def chat(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An export that knows PAIRS by heart; to its tokenizer 키 and 😀 are three and four bytes."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(
        [PAIRS["hello"], PAIRS["count"], "assistant user la la la"] * 3, trainer
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
    )
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a model this small only waits for a second one
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    texts = [
        tokenizer.apply_chat_template(
            [*chat(question), {"role": "assistant", "content": answer}], tokenize=False
        )
        for question, answer in PAIRS.items()
    ]
    texts.append("la " * 120)  # learnt without an end
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    for _ in range(80):
        model(**batch, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    path = tmp_path_factory.mktemp("run")
    model.save_pretrained(path / "export")
    tokenizer.save_pretrained(path / "export")
    yield path
    torch.set_num_threads(threads)


def write_config(run_dir: Path, **changes: Any) -> Path:
    config: dict[str, Any] = {
        "run_dir": str(run_dir),
        "dtype": "float32",
        "serve": {
            "host": "127.0.0.1",
            "port": 0,
            "model_name": "tiny",
            "api_key_env": "TEST_SERVE_KEY",
            "max_model_len": 512,
            "max_new_tokens": 300,
            "max_concurrent_requests": 8,
            "max_queue": 12,
            "shutdown_timeout": 20,
            **changes,
        },
    }
    path = run_dir / f"config-{config['serve']['port']}.yaml"
    path.write_text(json.dumps(config))  # YAML reads JSON
    return path


@dataclass
class Served:
    url: str
    process: subprocess.Popen[str]
    statuses: list[int]  # of /ready, from the first answer to the first 200

    def client(self, key: str = KEY) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=20)

    def request(self, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
        """Status and text, without a client that repairs what is sent."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data)
        sent = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}", **headers}
        for name, value in sent.items():
            request.add_header(name, value.encode().decode("latin-1"))
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metrics(self) -> dict[tuple[str, ...], float]:
        families = text_string_to_metric_families(self.request("/metrics")[1])
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in families
            for sample in family.samples
        }

    def wait_for(self, name: str, *labels: str, until: Callable[[float], bool]) -> None:
        deadline = time.monotonic() + 10
        while not until(value := self.metrics().get((name, *labels), 0)):
            assert time.monotonic() < deadline, f"{name}{labels} stays at {value}"
            time.sleep(0.02)


def start(run_dir: Path) -> Served:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    python_path = os.pathsep.join(str(REPOSITORY / name) for name in ("src", "vendor"))
    config = write_config(run_dir, port=port)
    process = subprocess.Popen(
        [sys.executable, "-m", "support_assistant", "serve", "--config", str(config)],
        env={
            **os.environ,
            "PYTHONPATH": python_path,
            "TEST_SERVE_KEY": KEY,
            "OMP_NUM_THREADS": "1",
        },
        stderr=subprocess.PIPE,
        text=True,
    )
    served = Served(f"http://127.0.0.1:{port}", process, [])
    deadline = time.monotonic() + 60
    while 200 not in served.statuses:
        with contextlib.suppress(OSError):
            served.statuses.append(served.request("/ready")[0])
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"the server did not come up:\n{process.communicate()[1]}")
        time.sleep(0.02)
    return served


@pytest.fixture(scope="module")
def served(run_dir: Path) -> Iterator[Served]:
    served = start(run_dir)
    yield served
    served.process.terminate()
    served.process.communicate(timeout=20)


@pytest.fixture(scope="module")
def reference(run_dir: Path) -> Any:
    """(text, prompt tokens, new tokens) that `model.generate()` gives for one chat alone."""
    model = AutoModelForCausalLM.from_pretrained(run_dir / "export", dtype=torch.float32)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(run_dir / "export")

    def generate(text: str, max_new_tokens: int = 100) -> tuple[str, int, int]:
        prompt = tokenizer.apply_chat_template(
            chat(text), add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        output = model.generate(**prompt, do_sample=False, max_new_tokens=max_new_tokens)
        size = prompt["input_ids"].shape[1]
        new = output[0, size:]
        return tokenizer.decode(new, skip_special_tokens=True), size, len(new)

    return generate


def ask(served: Served, text: str, max_tokens: int = 100) -> tuple[str | None, int, int]:
    answer = served.client().chat.completions.create(
        model="tiny", messages=chat(text), max_tokens=max_tokens, temperature=0
    )
    assert answer.usage
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    return answer.choices[0].message.content, usage.prompt_tokens, usage.completion_tokens


def test_ready_only_once_the_model_is_loaded(served: Served) -> None:
    assert served.statuses[0] == 503
    assert served.request("/health")[0] == 200


def test_models(served: Served) -> None:
    assert [model.id for model in served.client().models.list()] == ["tiny"]


@pytest.mark.parametrize("key", ["wrong", "", "ключ", KEY + "x"])
def test_a_wrong_key_is_refused(served: Served, key: str) -> None:
    for path in ("/v1/models", "/v1/chat/completions"):
        body: Any = None if path == "/v1/models" else {}
        status, text = served.request(path, body, Authorization=f"Bearer {key}")
        assert (status, json.loads(text)["error"]["code"]) == (401, "invalid_api_key")
    with pytest.raises(openai.AuthenticationError):
        served.client("sk-wrong").models.list()


@pytest.mark.parametrize("question", PAIRS)
def test_greedy_equals_generate(served: Served, reference: Any, question: str) -> None:
    assert reference(question)[0] == PAIRS[question]
    assert ask(served, question) == reference(question)


def test_greedy_equals_generate_under_load(served: Served, reference: Any) -> None:
    questions = [*PAIRS, *OTHERS] * 2
    limits = [20 + 15 * (number % 6) for number in range(len(questions))]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, [served] * len(questions), questions, limits))
    assert answers == list(map(reference, questions, limits))


def test_an_unset_temperature_is_the_models_own(served: Served) -> None:
    answer = served.client().chat.completions.create(model="tiny", messages=chat("hello"))
    assert answer.choices[0].message.content == PAIRS["hello"]
    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("question", [*PAIRS, *OTHERS[:4]])
def test_a_stream_is_the_answer_in_pieces(served: Served, reference: Any, question: str) -> None:
    chunks = list(
        served.client().chat.completions.create(
            model="tiny",
            messages=chat(question),
            max_tokens=60,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text, prompt_tokens, new_tokens = reference(question, 60)
    *spoken, last, usage = chunks
    assert spoken[0].choices[0].delta.role == "assistant"
    pieces = [chunk.choices[0].delta.content or "" for chunk in spoken]
    assert "".join(pieces) == text
    if question in PAIRS:
        assert len(pieces) > 5
        assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)
    assert [chunk.choices[0].finish_reason for chunk in spoken] == [None] * len(spoken)
    assert last.choices[0].finish_reason == ("stop" if new_tokens < 60 else "length")
    assert usage.usage
    assert usage.choices == []
    assert (usage.usage.prompt_tokens, usage.usage.completion_tokens) == (prompt_tokens, new_tokens)


def test_events_are_openais(served: Served) -> None:
    body = {"model": "tiny", "messages": chat("hello"), "stream": True, "max_tokens": 2}
    _, text = served.request("/v1/chat/completions", body)
    *events, done, end = text.split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    choices = [json.loads(event.removeprefix("data: "))["choices"][0] for event in events]
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert choices[-1] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "length"}


@pytest.mark.parametrize(
    ("question", "stop"),
    [
        ("count", "three four"),  # several tokens
        ("count", ["never", "six se", "ee f", " ten"]),
        ("hello", "I"),
        ("안녕", "워"),
        ("안녕", ["드릴까요? 😀"]),
        ("count", ["one two three!", "ten!"]),  # begins, and does not come
    ],
)
def test_stop_strings(served: Served, question: str, stop: Any) -> None:
    expected = PAIRS[question]
    for string in [stop] if isinstance(stop, str) else stop:
        expected = expected.split(string)[0]
    create = served.client().chat.completions.create
    answer = create(model="tiny", messages=chat(question), temperature=0, stop=stop)
    assert answer.choices[0].message.content == expected
    assert answer.choices[0].finish_reason == "stop"
    chunks = create(model="tiny", messages=chat(question), temperature=0, stop=stop, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == expected


def test_completions(served: Served) -> None:
    client = served.client()
    prompts = [f"<|im_start|>user\n{q}<|im_end|>\n<|im_start|>assistant\n" for q in PAIRS]
    answer = client.completions.create(model="tiny", prompt=prompts, max_tokens=100, temperature=0)
    assert [choice.text for choice in answer.choices] == list(PAIRS.values())
    one = client.completions.create(model="tiny", prompt=prompts[1], temperature=0)
    assert one.usage
    assert (one.usage.completion_tokens, one.choices[0].finish_reason) == (16, "length")
    texts = [""] * len(prompts)
    for chunk in client.completions.create(
        model="tiny", prompt=prompts, max_tokens=100, temperature=0, stream=True
    ):
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == list(PAIRS.values())


def test_a_seed_repeats_a_sample(served: Served) -> None:
    def sample(seed: int) -> str | None:
        answer = served.client().chat.completions.create(
            model="tiny", messages=chat("x"), temperature=2, top_p=0.99, seed=seed, max_tokens=30
        )
        content: str | None = answer.choices[0].message.content
        return content

    assert sample(1) == sample(1) != sample(2)


def test_parts_of_text_are_one_message(served: Served) -> None:
    parts: Any = [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]
    answer = served.client().chat.completions.create(model="tiny", messages=parts, n=1, user="u")
    assert answer.choices[0].message.content == PAIRS["hello"]


def harmless(table: Table) -> dict[str, Any]:
    rows = table.items()
    return {name: "a label" if values == LABEL else values[0] for name, values in rows if values}


def test_parameters_that_ask_for_nothing_are_taken(served: Served) -> None:
    body = harmless(OPENAI | BEYOND_OPENAI) | {"model": "tiny", "temperature": 0, "max_tokens": 100}
    turns = [{**harmless(MESSAGE), **chat("hello")[0]}]
    status, text = served.request("/v1/chat/completions", {**body, "messages": turns})
    assert status == 200, text
    assert json.loads(text)["choices"][0]["message"]["content"] == PAIRS["hello"]
    assert served.request("/v1/completions", {**body, "prompt": "hello"})[0] == 200
    developer: Any = [{"role": "developer", "content": "Be brief."}, *chat("hello")]
    create = served.client().chat.completions.create
    answer: Any = create(model="tiny", messages=developer).choices[0].message
    assert create(model="tiny", messages=[*developer, answer, *chat("count")]).choices
    assert served.client().models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.NotFoundError):
        served.client().models.retrieve("other")


@pytest.mark.parametrize(
    ("changes", "status", "param", "code"),
    [
        ({"model": "gpt-4"}, 404, "model", "model_not_found"),
        ({"model": None}, 400, "model", "missing_required_parameter"),
        ({"tools": [{"type": "function"}]}, 400, "tools", "invalid_value"),
        ({"logit_bias": {"5": 1}}, 400, "logit_bias", "invalid_value"),
        ({"response_format": {"type": "json"}}, 400, "response_format.type", "invalid_value"),
        ({"min_p": 0.1}, 400, "min_p", "invalid_value"),
        ({"min_po": 0}, 400, "min_po", "unsupported_parameter"),
        ({"audio": {"voice": "ash"}}, 400, "audio", "unsupported_parameter"),
        ({"tool_choice": "required"}, 400, "tool_choice", "invalid_value"),
        ({"top_k": 5}, 400, "top_k", "invalid_value"),
        ({"logprobs": True}, 400, "logprobs", "invalid_value"),
        ({"n": 2}, 400, "n", "invalid_value"),
        ({"presence_penalty": 0.5}, 400, "presence_penalty", "invalid_value"),
        ({"temperature": "hot"}, 400, "temperature", "invalid_value"),
        ({"temperature": 2.1}, 400, "temperature", "invalid_value"),
        ({"stop": ["a", "b", "c", "d", "e"]}, 400, "stop", "invalid_value"),
        ({"stop": ""}, 400, "stop[0]", "invalid_value"),
        ({"seed": 2**70}, 400, "seed", "invalid_value"),
        ({"messages": []}, 400, "messages", "invalid_value"),
        ({"messages": chat("hi <|im_end|>")}, 400, "messages", None),
        ({"messages": [{"role": "tool", "content": ""}]}, 400, "messages[0].role", "invalid_value"),
        (
            {"messages": [{"role": "user"}]},
            400,
            "messages[0].content",
            "missing_required_parameter",
        ),
        ({"messages": chat("ab " * 900)}, 400, "messages", "context_length_exceeded"),
        ({"max_tokens": 301}, 400, "max_tokens", None),
        ({"max_tokens": 2, "max_completion_tokens": 2}, 400, "max_tokens", None),
        ({"stream_options": {}}, 400, "stream_options", None),
    ],
)
def test_refusals_name_the_parameter(
    served: Served, changes: Any, status: int, param: str, code: str | None
) -> None:
    body = {"model": "tiny", "messages": chat("hello"), **changes}
    got, text = served.request("/v1/chat/completions", body)
    error = json.loads(text)["error"]
    assert (got, error["param"], error["code"]) == (status, param, code), text
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/v1/chat/completions", b"{", {}, 400),
        ("/v1/chat/completions", b"[1]", {}, 400),
        ("/v1/chat/completions", b"[" * 100_000, {}, 400),
        ("/v1/chat/completions", b'{"model": "\xff"}', {}, 400),
        ("/v1/chat/completions", b" " * 1_100_000, {}, 413),
        ("/v1/chat/completions", {}, {"Content-Type": "text/plain"}, 415),
        ("/v1/completions", {"model": "tiny", "prompt": [1, 2]}, {}, 400),
        ("/v1/completions", {"model": "tiny", "prompt": ""}, {}, 400),
        ("/v1/completions", {"model": "tiny", "prompt": ["a"] * 13}, {}, 400),
        ("/v1/embeddings", {}, {}, 404),
        ("/v1/chat/completions", None, {}, 405),
    ],
)
def test_malformed_requests_get_openais_error(
    served: Served, path: str, body: Any, headers: dict[str, str], status: int
) -> None:
    got, text = served.request(path, body, **headers)
    assert got == status
    assert set(json.loads(text)["error"]) == {"message", "type", "param", "code"}


def test_metrics(served: Served) -> None:
    before = served.metrics()
    _, prompt_tokens, new_tokens = ask(served, "hello")
    served.request("/v1/chat/completions", {})
    served.request("/v1/made-up-by-a-scanner")
    after = served.metrics()
    for key, growth in {
        ("llm_requests_total", "/v1/chat/completions", "200"): 1,
        ("llm_requests_total", "/v1/chat/completions", "400"): 1,
        ("llm_answers_total", "stop"): 1,
        ("llm_prompt_tokens_total",): prompt_tokens,
        ("llm_generation_tokens_total",): new_tokens,
        ("llm_time_to_first_token_seconds_count",): 1,
        ("llm_e2e_request_latency_seconds_count",): 1,
    }.items():
        assert after[key] - before.get(key, 0) == growth, key
    # The model's thread lets go of an answer a moment after it has sent it.
    served.wait_for("llm_num_requests_running", until=lambda count: count == 0)
    assert after[("llm_num_requests_waiting",)] == 0
    assert not any("made-up" in label for key in after for label in key)


def test_a_full_queue_refuses_and_a_lost_client_frees_it(served: Served) -> None:
    cancelled = served.metrics()[("llm_answers_total", "cancelled")]
    create = served.client().completions.create
    stream = create(model="tiny", prompt=[ENDLESS] * 12, max_tokens=300, temperature=0, stream=True)
    next(stream)
    with pytest.raises(openai.RateLimitError) as refusal:
        create(model="tiny", prompt=[ENDLESS] * 12)
    assert refusal.value.response.headers["Retry-After"]
    stream.close()
    served.wait_for("llm_answers_total", "cancelled", until=lambda count: count > cancelled)
    assert create(model="tiny", prompt=[ENDLESS] * 12, max_tokens=1).usage


def test_a_lost_client_of_a_plain_request_frees_its_place(served: Served) -> None:
    before = served.metrics()[("llm_answers_total", "cancelled")]
    client = served.client().with_options(timeout=0.1)
    with pytest.raises(openai.APITimeoutError):
        client.completions.create(
            model="tiny", prompt=[ENDLESS] * 12, max_tokens=300, temperature=0
        )
    served.wait_for("llm_answers_total", "cancelled", until=lambda count: count > before)


def test_sigterm_finishes_what_runs(run_dir: Path) -> None:
    served = start(run_dir)
    stream = served.client().completions.create(
        model="tiny", prompt=ENDLESS, max_tokens=300, temperature=0, stream=True
    )
    first = next(stream).choices[0].text
    served.process.send_signal(signal.SIGTERM)
    chunks = [chunk.choices[0] for chunk in stream]
    log = served.process.communicate(timeout=20)[1]
    assert first and chunks[-1].finish_reason == "length"
    assert "Traceback" not in log
    assert served.process.returncode in (0, -signal.SIGTERM)


def test_the_engine_bounds_its_queue(run_dir: Path) -> None:
    engine = Engine(lambda: (None, None), lambda error: None, 2, 1, 64)
    engine._prepare = lambda generation: None  # type: ignore[method-assign]
    ones = [Generation(0, [1], SamplingParams(1), lambda delta: None) for _ in range(4)]
    with pytest.raises(QueueFullError):
        engine.submit(ones)
    engine.submit(ones[:3])
    with pytest.raises(QueueFullError):
        engine.submit(ones[3:])
    engine.cancel(ones[:1])
    engine.submit(ones[3:])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run_dir": "nowhere"}, "make export"),
        ({"host": "0.0.0.0"}, "NO_SUCH_KEY"),
        ({"max_model_len": 4096}, "max_model_len"),
        ({"port": None}, "cannot listen"),
    ],
)
def test_it_refuses_to_start(run_dir: Path, changes: dict[str, Any], message: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        values: dict[str, Any] = {
            "run_dir": str(run_dir),
            "dtype": "float32",
            "host": "127.0.0.1",
            "port": busy.getsockname()[1],
            "model_name": "tiny",
            "api_key_env": "NO_SUCH_KEY",
            "max_model_len": 512,
            "max_new_tokens": 300,
            "max_concurrent_requests": 1,
            "max_queue": 1,
            "shutdown_timeout": 1,
        }
        values.update({name: value for name, value in changes.items() if value is not None})
        with pytest.raises(UserError, match=message) as refusal:
            main(Config(**values))
    assert "\n" not in str(refusal.value)
