"""Every code of a problem: what it means and what to do. `tunesmith explain` and docs/errors.md show these.

Codes of rules across sections, TS2xx, are explained beside the rules, in `spec/`.
"""

from typing import NamedTuple

from tunesmith.spec.pipeline import RULES
from tunesmith_runtime.unread import OF_NO_TEMPLATE, UNREAD_COLUMNS


class Explanation(NamedTuple):
    """What a code means."""

    title: str
    text: str


# Of all that no rule refuses.
_OTHERS = {
    "TS001": Explanation(
        "The spec cannot be read",
        "There is no pipeline.yaml at that place, or it cannot be opened. `tunesmith init BLUEPRINT DIR` writes one; "
        "the folder is given as DIR, `.` when left out.",
    ),
    "TS002": Explanation(
        "The spec is too large",
        "A spec is a page of text; more than 1 MB is a data file given by mistake. It is not read.",
    ),
    "TS003": Explanation("The spec is not UTF-8", "Save the file as UTF-8. The line of the first bad byte is given."),
    "TS004": Explanation(
        "The spec is not valid YAML",
        "The place is where the parser stopped; the mistake is there or just before. Tags such as `!!python/name` and "
        "keys that are not plain words are refused too.",
    ),
    "TS005": Explanation(
        "A key is given twice", "YAML would silently take the last one. Remove one of the two; both lines are named."
    ),
    "TS006": Explanation(
        "The spec expands without end",
        "Anchors and aliases multiply into more than 100,000 values or 50 levels. Write the values out.",
    ),
    "TS007": Explanation(
        "The spec holds no sections",
        "The file is empty, or holds a list or a word instead of sections such as `project:` and `data:`.",
    ),
    "TS101": Explanation(
        "Unknown key",
        "No section or option has this name. The nearest known one is given; `tunesmith schema` prints them all.",
    ),
    "TS102": Explanation(
        "Wrong type or value out of range",
        'The value is not what the option takes. Quote a text that looks like a number, such as stack: "2026.11".',
    ),
    "TS103": Explanation("A value is missing", "The option has no default; give it a value."),
    "TS104": Explanation("The value cannot be used", "The value has the right type, but a rule of its own refuses it."),
    "TS301": Explanation(
        "A data file is missing",
        "Paths in `data.sources` are relative to the spec. A pointer of Git LFS in the file's place, or a file that may "
        "not be read, counts as missing. `validate` and the data stage need the file; `plan` and `apply` go on without, "
        "and say that it was not checked.",
    ),
    "TS302": Explanation("A data file holds no rows", "The file is empty, or holds a header alone."),
    "TS303": Explanation(
        "A data file is not UTF-8",
        "The first bad row is named. Convert the file from the encoding that it was saved in, for example with "
        "`iconv -f UTF-16 -t UTF-8`, `iconv -f WINDOWS-1252 -t UTF-8` or `iconv -f EUC-KR -t UTF-8`; UTF-16 and UTF-32 are "
        "named where the file is that.",
    ),
    "TS304": Explanation(
        "A row cannot be read",
        "The row is no valid JSON or CSV, or not what the format expects, or a key, or the name of a column, is given "
        "twice, of which only one could count. The row is named.",
    ),
    "TS305": Explanation(
        "A mapped column is not there",
        "`columns` maps what the pipeline reads to the names in your file; the names that are there are listed.",
    ),
    "TS306": Explanation(
        "A split would be empty",
        "Rows are split by a hash of their prompt, so a few rows, and all that share a prompt, may fall on one side. The "
        "message says how many rows are dropped and why. Mend those, add rows with other prompts, or raise "
        "`data.validation_fraction` or `data.test_fraction`.",
    ),
    "TS307": Explanation(
        "A row asks for what training would leave out",
        "The model would learn something else than the row says. Of a message, only `role` and `content` are read: any "
        "other key with a value is refused, but "
        f"{', '.join(f'`{key}`' for key in sorted(OF_NO_TEMPLATE))}, and `weight: 1`. Of a row, the mapped columns are "
        "read, and any other may be there, but these must be empty where they are not mapped: "
        f"{', '.join(f'`{column}`' for column in sorted(UNREAD_COLUMNS))}. Map the column, write what it says into the texts, or "
        "rename or remove it. Where the answers of a preference repeat the conversation, its `prompt` has to say the same.",
    ),
    "TS401": Explanation("The target folder is not empty", "`init` writes into a new or an empty folder only."),
    "TS402": Explanation("The target is a file", "Name a folder."),
    "TS403": Explanation(
        "The target cannot be written",
        "Permissions, or a file where a folder has to be. Either nothing is changed, or the next apply goes on from there.",
    ),
    "TS404": Explanation(
        "No space left on the disk",
        "Either nothing is changed, or the next apply goes on from there. Free some space and run it again.",
    ),
    "TS405": Explanation(
        "Your edits and the new text clash",
        "Both changed the same lines, or a file of yours is where a generated one has to go, or a file that you edited "
        "is no longer generated. Nothing is written. `tunesmith plan` shows both sides; edit yours so that they agree, "
        "or apply with `--on-conflict markers`, `ours` or `theirs`.",
    ),
    "TS406": Explanation(
        "git cannot merge",
        "Where a file was edited by you and changed by the spec, git merges both. It has to be on PATH, 2.38 or newer.",
    ),
    "TS407": Explanation(
        "Not a deleted file",
        "`--restore PATH` brings back a generated file that you deleted, by its path in the repository.",
    ),
    "TS408": Explanation(
        "No two branches",
        "`--rebase-lock` reads the records of both branches while git merges or rebases them, or where the last commit "
        "merged them.",
    ),
    "TS409": Explanation(
        "Two branches meet",
        "Both branches regenerated, so git's index holds two versions of the lock or of the archive, or the lock has lines "
        "of both. Settle the conflicts in your own files, pipeline.yaml first, then run the command again with "
        "`--rebase-lock`, before `git add`. Where git no longer has both, take .tunesmith as one of the branches has it, "
        "`git checkout BRANCH -- .tunesmith`: what the other one generated counts as your edits then.",
    ),
    "TS410": Explanation(
        "The lock is damaged", "`.tunesmith/lock.json` is not as Tunesmith wrote it. Restore it from version control."
    ),
    "TS411": Explanation(
        "A path leaves the repository", "A path in the lock is absolute, goes up with `..`, or leads through a link."
    ),
    "TS412": Explanation(
        "The journal cannot be followed",
        "`.tunesmith/staging` holds a journal that Tunesmith did not write, not here, or that was damaged since. Look at "
        "what version control says of the repository, then remove that folder.",
    ),
    "TS413": Explanation(
        "An apply was interrupted",
        "Files of two generations may be there. `tunesmith apply` finishes what the interrupted run had decided, or clears "
        "away what it had not.",
    ),
    "TS414": Explanation(
        "The base archive is not sound",
        "`.tunesmith/base.tar.xz` holds the files as they were generated. It is damaged, too large, of another "
        "generation than the lock, or holds something else. Restore both from version control.",
    ),
    "TS415": Explanation(
        "The record is missing",
        "`.tunesmith` holds what your edits are edits of. Without it, every file that would be written otherwise today is "
        "a conflict. Restore it with the command that is named. Where it was never committed, copy it from where the "
        "repository was generated, commit it with `git add --force .tunesmith`, and look for what ignores it with "
        "`git check-ignore -v .tunesmith/lock.json`. Where it is gone for good, `--on-conflict ours` keeps your files and "
        "`--on-conflict theirs` takes the generated ones.",
    ),
    "TS501": Explanation("Python that does not parse", "Python itself refuses the file."),
    "TS502": Explanation("Lint", "ruff reports this under the repository's own settings."),
    "TS503": Explanation(
        "YAML that does not load",
        "A configuration or workflow file is not valid YAML, or gives a key twice in one mapping, of which loaders take "
        "one or none.",
    ),
    "TS504": Explanation("TOML that does not load", "The file is not valid TOML."),
    "TS505": Explanation("JSON that does not load", "The file is not valid JSON, or gives a key twice in one object."),
    "TS506": Explanation("A workflow that GitHub would refuse", "actionlint reports this."),
    "TS507": Explanation(
        "No record of what was generated",
        "`.tunesmith/lock.json` or `.tunesmith/base.tar.xz` is missing. Restore both from version control.",
    ),
    "TS508": Explanation(
        "Conflict markers are left",
        "A file holds both sides of a conflict. Keep the lines that are right, and remove the markers.",
    ),
    "TS601": Explanation("No such blueprint", "`tunesmith blueprints` lists those that there are."),
    "TS602": Explanation(
        "No such question", "`--data KEY=VALUE` answers a question of the blueprint; its questions are listed."
    ),
    "TS603": Explanation(
        "The blueprint cannot be used", "It cannot be fetched or rendered, or writes no pipeline.yaml."
    ),
    "TS605": Explanation("No such code", "`tunesmith explain` without a code lists them all."),
    "TS606": Explanation(
        "The command is misused",
        "An option or argument is unknown, missing or of the wrong form; `--help` shows an example.",
    ),
    "TS607": Explanation(
        "The output cannot be written",
        "Standard output leads to a full disk, or to a terminal that is gone; `tunesmith plan` shows what `apply` did before.",
    ),
}

# No longer reported, but still in somebody's log.
RETIRED = {
    code: Explanation(f"{title} (now TS201)", f"Reported as TS201 since 0.2. {text}")
    for code, title, text in (
        ("TS202", "LoRA ranks searched without LoRA", "`hpo.lora_ranks` does nothing with `train.adapter: full`."),
        ("TS206", "Search settings without a search", "`hpo.enabled: false` leaves the search out of the repository."),
        (
            "TS207",
            "A mapped column that the format does not read",
            "Format `messages` reads the column `messages`; `prompt-completion` reads `prompt` and `completion`; "
            "`preference` reads `prompt`, `chosen` and `rejected`.",
        ),
        (
            "TS208",
            "Quantisation settings without QLoRA",
            "`train.qlora` says how the 4-bit base of `train.adapter: qlora` is held.",
        ),
        ("TS210", "A preference's weight without preferences", "`train.beta` belongs to `dpo`, `orpo` and `kto`."),
        ("TS215", "GPUs counted without distribution", "`gpus_per_node` and `nodes` belong to `train.distributed`."),
        ("TS219", "Tracking settings without a tracker", "`tracking.uri` belongs to MLflow alone."),
        (
            "TS221",
            "Dropout with preferences",
            "TRL switches every dropout off for DPO, ORPO and KTO, so that both answers are measured by the same model.",
        ),
    )
}

_BY_RULES = {rule.code: Explanation(rule.title, rule.explanation) for rule in RULES}

# By code.
CODES = dict(sorted({**_OTHERS, **_BY_RULES, **RETIRED}.items()))
