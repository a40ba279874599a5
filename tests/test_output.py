"""What a generated repository prints reaches whoever reads it, and no state of the output ends a run in a traceback."""

import subprocess
from pathlib import Path

import pytest

from conftest import EXTRAS_PYTHON, PIPELINE_PYTHON, require
from repositories import foreign_lines, offline, repository, settings

pytestmark = pytest.mark.pipeline
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture(scope="module")
def support(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows, and a base that knows next to nothing."""
    return repository(tmp_path_factory.mktemp("output") / "support", "sft")


def run(root: Path, line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A line of bash, in which $RUN is `python -m`; standard error is what came there from any process."""
    variables = {**offline(), "RUN": f"{require(PIPELINE_PYTHON)} -m", **environment}
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], cwd=root, env=variables, capture_output=True, check=False, timeout=300
    )


def values(*more: str) -> str:
    return " ".join(settings(*more))


@pytest.mark.parametrize("terminal", [{"PYTHONIOENCODING": "latin-1"}, {"PYTHONIOENCODING": "cp1252:strict"}, ASCII])
def test_training_prints_its_sample_on_any_terminal(terminal: dict[str, str], support: Path, tmp_path: Path) -> None:
    data = f"run_dir={tmp_path}"
    done = run(support, f"$RUN support_assistant data {values(data)}", **terminal)
    assert (done.returncode, done.stderr) == (0, b"")
    done = run(support, f"$RUN support_assistant train {values(data, 'train.max_steps=1')}", **terminal)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"what is trained between \\u27e6 and \\u27e7" in done.stdout
    assert b"train: steps = 1" in done.stdout


def test_a_smoke_run_and_what_it_starts_print_on_any_terminal(support: Path, tmp_path: Path) -> None:
    quick = ("base.steps=20", "train.max_steps=1", "evaluate.max_new_tokens=4", "evaluate.max_examples=2")
    done = run(support, f"$RUN support_assistant smoke {values(f'run_dir={tmp_path}/smoke', *quick)} 2>&1", **ASCII)
    assert b"Traceback" not in done.stdout
    assert b"train        passed" in done.stdout, done.stdout[-3_000:]
    assert b"what is trained between \\u27e6" in done.stdout


@pytest.mark.parametrize("stage", ["data", "train", "smoke", "--help"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_ends_a_stage_without_a_word(
    stage: str, unbuffered: str, support: Path, tmp_path: Path
) -> None:
    for name in ("data", "base"):
        (tmp_path / name).symlink_to(support / "runs" / "smoke" / name)
    options = "" if stage == "--help" else values(f"run_dir={tmp_path / ('new' if stage == 'smoke' else '.')}")
    done = run(support, f"$RUN support_assistant {stage} {options} | head -c 1 >/dev/null", PYTHONUNBUFFERED=unbuffered)
    # Of a smoke run it may be a stage that finds nobody there, which the run then tells.
    assert b"Traceback" not in done.stderr if stage == "smoke" else done.stderr == b""
    assert done.returncode == 1 or stage in ("data", "--help")  # which may be done before


def test_the_base_ends_without_a_word_too(support: Path, tmp_path: Path) -> None:
    line = (
        f"$RUN support_assistant.smoke.base {values('run_dir=runs/smoke', f'base_model={tmp_path}', 'base.steps=300')}"
    )
    done = run(support, f"{line} | head -c 1 >/dev/null")
    assert (done.returncode, done.stderr) == (1, b"")
    assert not (tmp_path / "manifest.json").exists()


def test_a_full_disk_below_the_output_is_told_and_a_closed_one_is_no_news(support: Path, tmp_path: Path) -> None:
    line = f"$RUN support_assistant data {values(f'run_dir={tmp_path}')}"
    done = run(support, f"{line} >/dev/full")
    assert (done.returncode, done.stderr) == (1, b"standard output: No space left on device\n")
    done = run(support, f"{line} >&-")
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_error_that_is_no_ones_output_keeps_its_traceback(support: Path) -> None:
    """A pipe to a worker process that breaks is a fault, not a reader that went away."""
    code = (
        "from support_assistant import cli\n"
        "def run(*arguments): raise BrokenPipeError('a worker is gone')\n"
        "cli.run = run\n"
        "cli.main(['data', '--config', 'configs/smoke.yaml'])\n"
    )
    done = subprocess.run(
        [str(PIPELINE_PYTHON), "-c", code], cwd=support, env=offline(), capture_output=True, check=False
    )
    assert b"BrokenPipeError: a worker is gone" in done.stderr


def test_orpo_on_a_quantized_base_prints_no_line_of_a_library(tmp_path: Path) -> None:
    """TRL's warning of what is experimental and its progress bars; what DeepSpeed says where it is installed."""
    require(EXTRAS_PYTHON)
    root = repository(tmp_path / "orpo", "orpo", "qlora")
    line = f"{EXTRAS_PYTHON} -m support_assistant smoke {values('train.max_steps=1', 'base.steps=60')} 2>&1"
    output = run(root, line).stdout.decode()
    assert "train        passed" in output
    assert foreign_lines(output) == []


def test_a_long_pass_of_the_untrained_model_says_how_far_it_is(tmp_path: Path) -> None:
    """Where every weight is trained, TRL reads all answers before the first step; with a line every 30 seconds."""
    root = repository(tmp_path / "kto", "kto", "full")
    code = (
        "from support_assistant import cli\n"
        "from support_assistant.training import reference\n"
        "reference.SECONDS = 0\n"
        f"cli.main(['train', *{settings('train.max_steps=1')}])\n"
    )
    done = subprocess.run(
        [str(PIPELINE_PYTHON), "-c", code], cwd=root, env=offline(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    said = [line for line in done.stdout.splitlines() if "log probabilities before training" in line]
    examples = 2 * sum(1 for _ in (root / "runs" / "smoke" / "data" / "train.jsonl").open())
    *_, last = [line for line in said if "train " in line.split(",")[1]]
    assert last == f"train: log probabilities before training, train {examples:,}/{examples:,}  0 s left"
    assert "eval " in said[-1]
    assert foreign_lines(done.stdout) == []
