"""Mistakes in a config are found all at once, each on one line with its place."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from tunesmith_runtime.config import load_config
from tunesmith_runtime.errors import UserError

from support_assistant.cli import STAGES, main

CONFIGS = Path(__file__).parent.parent / "configs"
OF_THE_SMOKE_RUN = {"base", "learning", "smoke"}


@dataclass(frozen=True)
class Sample:
    seed: int
    learning_rate: float
    name: str
    layers: list[int]


@dataclass(frozen=True)
class Watch:
    log_every: int
    save_every: float


@dataclass(frozen=True)
class Open:
    words: dict[str, str]


@dataclass(frozen=True)
class Watched:
    seed: int
    watch: Watch


@dataclass(frozen=True)
class Search:
    train: Watched
    trials: int


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    text = "seed: 1\ntrain:\n  learning_rate: 1e-4\n  name: a\n  layers: [1, 2]\n"
    return write(tmp_path / "a.yaml", text)


def test_values_come_from_the_top_the_section_and_the_command_line(config: Path) -> None:
    overlay = write(config.with_name("b.yaml"), "train: {name: b}\n")
    loaded = load_config(Sample, "train", [config, overlay], ["seed=7"])
    assert loaded == Sample(seed=7, learning_rate=1e-4, name="b", layers=[1, 2])


def test_an_empty_mapping_takes_any_keys(tmp_path: Path) -> None:
    empty = write(tmp_path / "a.yaml", "seed: 1\nwords: {}\n")
    loaded = load_config(Open, "", [empty], ["words={a: x, b: y}"])
    assert loaded.words == {"a": "x", "b": "y"}


def test_all_problems_are_reported_with_their_places(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "seed: x\ntrain:\n  lerning_rate: 1\n  name: 3\n")
    with pytest.raises(UserError) as error:
        load_config(Sample, "train", [path])
    lines = str(error.value).splitlines()
    assert f"{path}:1:1: seed: expected a valid integer, not 'x'" in lines
    assert f"{path}:3:3: train.lerning_rate: unknown key; did you mean 'learning_rate'?" in lines
    assert f"{path}:4:3: train.name: expected a valid string, not 3" in lines
    assert any("layers: missing" in line for line in lines)


def test_a_section_holds_a_section(tmp_path: Path) -> None:
    text = "seed: 1\ntrain:\n  watch:\n    log_every: 3\n    save_every: 2\nhpo:\n  trials: 4\n"
    path = write(tmp_path / "a.yaml", text)
    loaded = load_config(Search, "hpo", [path], ["train.watch.log_every=1"])
    assert loaded == Search(Watched(1, Watch(log_every=1, save_every=2)), trials=4)
    with pytest.raises(
        UserError, match=r"train\.watch\.log_every: expected a valid integer, not 'x'"
    ):
        load_config(Watched, "train", [path], ["train.watch.log_every=x"])


def test_problems_in_a_section_of_a_section_have_their_places(tmp_path: Path) -> None:
    text = "seed: 1\nsave_every: 2\ntrain:\n  watch:\n    log_evry: 3\nhpo:\n  trials: 4\n"
    path = write(tmp_path / "a.yaml", text)
    with pytest.raises(UserError) as error:
        load_config(Search, "hpo", [path])
    assert str(error.value).splitlines() == [
        f"{path}:5:5: train.watch.log_evry: unknown key; did you mean 'log_every'?",
        f"{path}:4:3: train.watch.log_every: missing; add it there",
        f"{path}:4:3: train.watch.save_every: missing; add it there",
    ]
    with pytest.raises(UserError, match=r"--set train\.watch: .* expected keys and values"):
        load_config(Watched, "train", [path], ["train.watch=3"])


@pytest.mark.parametrize("override", ["train.lerning_rate=1", "sede=1", "optim.x=1"])
def test_an_override_adds_no_key(config: Path, override: str) -> None:
    with pytest.raises(UserError, match="unknown key"):
        load_config(Sample, "train", [config], [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\nseed: 2\n", ":2:1: 'seed' is written twice"),
        ("seed: [1\n", "not valid YAML"),
        ("- 1\n", "expected keys and values"),
    ],
)
def test_broken_files(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        load_config(Sample, "train", [write(tmp_path / "a.yaml", text)])
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["default.yaml", "smoke.yaml"])
def test_every_key_of_the_configs_is_read_by_a_stage(name: str) -> None:
    values = yaml.safe_load((CONFIGS / name).read_text(encoding="utf-8"))
    unread = {key for key in values if key not in STAGES} - OF_THE_SMOKE_RUN
    for stage in STAGES:
        config_class = import_module(f"support_assistant.{stage}").Config
        unread -= set(vars(load_config(config_class, stage, [CONFIGS / name])))
    assert not unread


def test_errors_are_lines_without_a_traceback(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["data", "--config", str(tmp_path / "none.yaml")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
