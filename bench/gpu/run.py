"""Everything that is measured on a GPU, in one command that needs no network.

    .venvs/tool/bin/python bench/gpu/pack.py build/gpu       # before, where there is a network
    python bench/gpu/run.py --pack build/gpu --minutes 8 --output build/gpu/results

The most important comes first; each result is a line of results.jsonl as soon as it is there, so a run that is cut off
loses nothing. environment.json says what it ran on, and table.md is what goes into docs/performance.md.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# What a group may have used when it ends, as a share of all the time: a slow one leaves something for the next.
GROUPS = {
    "throughput": ("training.py", 0.45),
    "memory": ("training.py", 0.70),
    "others": ("training.py", 0.82),
    "generation": ("generation.py", 0.90),
    "whole": ("whole.py", 1.0),
}
PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "bitsandbytes", "liger-kernel", "triton")


def main() -> None:
    """Install what the pack brings, and run the groups one after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, required=True, help="the folder that pack.py made")
    parser.add_argument("--output", type=Path, required=True, help="where results go")
    parser.add_argument("--minutes", type=float, default=8, help="after which no new case begins (default: 8)")
    parser.add_argument("--only", nargs="+", choices=list(GROUPS), default=list(GROUPS), help="these groups alone")
    parser.add_argument("--work", type=Path, help="where models are made, 40 GB (default: a temporary folder)")
    parser.add_argument("--tiny", action="store_true", help="models a CPU can train, to try all of this out")
    arguments = parser.parse_args()
    begun = time.time()
    arguments.output.mkdir(parents=True, exist_ok=True)
    if (arguments.output / "results.jsonl").exists():
        parser.error(f"{arguments.output} holds the results of another run; name another folder")
    with contextlib.ExitStack() as stack:
        work = arguments.work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tunesmith-gpu-")))
        work.mkdir(parents=True, exist_ok=True)
        site = install(arguments.pack / "wheels", work / "site")
        path = os.pathsep.join(filter(None, [site, os.environ.get("PYTHONPATH", "")]))
        # Each group is as if alone: what one leaves on the card is gone with its process.
        environment = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
        if arguments.tiny:
            environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        write_environment(arguments.output, environment)
        for name in arguments.only:
            script, share = GROUPS[name]
            share = share if arguments.only == list(GROUPS) else 1.0
            job = {
                "group": name,
                "pack": str(arguments.pack.resolve()),
                "output": str(arguments.output.resolve()),
                "work": str(work.resolve()),
                "tiny": arguments.tiny,
                "deadline": begun + arguments.minutes * 60 * share,
            }
            file = work / f"{name}.json"
            file.write_text(json.dumps(job), encoding="utf-8")
            # A case that has begun may end; one that hangs may not.
            limit = max(job["deadline"] - time.time(), 1) + 90
            print(f"{name}: until {time.strftime('%X', time.localtime(job['deadline']))}", flush=True)
            with contextlib.suppress(subprocess.TimeoutExpired):
                done = subprocess.run(
                    [sys.executable, str(HERE / script), str(file)], env=environment, check=False, timeout=limit
                )
                if done.returncode != 0:
                    print(f"{name}: exit code {done.returncode}", flush=True)
            write_table(arguments.output)
    print((arguments.output / "table.md").read_text(encoding="utf-8"))


def install(wheels: Path, site: Path) -> str:
    """Put the wheels before what is there already; the folder, or nothing where there are none."""
    files = sorted(map(str, wheels.glob("*.whl")))
    if not files:
        return ""
    shutil.rmtree(site, ignore_errors=True)
    line = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    subprocess.run([*line, "--target", str(site), *files], check=True)
    return str(site)


def write_environment(output: Path, environment: dict[str, str]) -> None:
    """The card, the versions and the speed of one large product, which is the most that can be asked for."""
    code = """
import json, time, torch
found = {"torch": torch.__version__, "cuda": torch.version.cuda}
if torch.cuda.is_available():
    found["device"] = torch.cuda.get_device_name()
    found["memory_gib"] = round(torch.cuda.get_device_properties(0).total_memory / 2**30, 1)
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in "ab")
    for _ in range(3): a @ b
    start, end = (torch.cuda.Event(enable_timing=True) for _ in "ab")
    start.record()
    for _ in range(10): a @ b
    end.record()
    torch.cuda.synchronize()
    found["product_tflops"] = round(2 * 8192**3 * 10 / start.elapsed_time(end) / 1e9, 1)
print(json.dumps(found))
"""
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    paths = [place for place in environment["PYTHONPATH"].split(os.pathsep) if place]
    versions = {
        package.metadata["Name"].lower().replace("_", "-"): package.version
        for package in (*metadata.distributions(), *metadata.distributions(path=paths))  # those of the pack go first
    }
    found |= {"python": platform.python_version(), "packages": {name: versions.get(name) for name in PACKAGES}}
    (output / "environment.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found), flush=True)


def write_table(output: Path) -> None:
    """All results so far as a table of Markdown."""
    file = output / "results.jsonl"
    results = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
    columns = ("tokens_per_second", "peak_gib", "model_tflops", "share_of_peak", "new_tokens_per_second")
    lines = ["| group | case | shape | " + " | ".join(columns) + " | |", "| --- " * (len(columns) + 4) + "|"]
    for result in results:
        said = result.get("failed") or result.get("skipped") or ""
        cells = [result["group"], result["case"], result.get("shape", ""), *(result.get(name, "") for name in columns)]
        lines.append("| " + " | ".join(str(cell) for cell in (*cells, said[:120].replace("|", "/"))) + " |")
    (output / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
