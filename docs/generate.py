"""Write the generated pages: commands, GPU rows, the JSON result, explanations, rules, the quickstart's real output.

    python docs/generate.py            # write what changed
    python docs/generate.py --quick    # all but the quickstart, which rehearses an example

A test fails when a page is not what this program writes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from trainworthy.cli.main import COMMANDS
from trainworthy.explain import all_subjects, answer
from trainworthy.explain.registry import GROUPS, example_words
from trainworthy.explain.text import render_text
from trainworthy.hardware import link_rows
from trainworthy.hardware.rows import built_in_rows
from trainworthy.units import UNKNOWN, format_bytes

sys.path.insert(0, str(Path(__file__).resolve().parent))
import benchmark_table
import catalogue_page
import ecosystem_page
import injected_page
import measured_gpu_page
import parts_page
import peers_page
import published_runs_page
import recipes_page
import resume_page
import rule_pages
import single_gpu_page
import train_page
import traincheck_page

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
_MARK, _END = "<!-- quickstart-output -->", "<!-- /quickstart-output -->"
_ESTIMATE = ("estimate", "--gpu", "h100-sxm-80gb", "examples/transformer_lm.py")
_MODEL = ("estimate", "--model", "llama3-8b", "--gpu", "h100-sxm-80gb", "--world-size", "64", "--zero-stage", "3")
_EXAMPLE = ("rehearse", "--gpu", "h100-sxm-80gb", "examples/transformer_lm.py")


def run(*words: str, columns: int = 100) -> str:
    """Run ``trainworthy`` and return what it prints."""
    command = [sys.executable, "-m", "trainworthy", *words]
    environment = {**os.environ, "COLUMNS": str(columns), "NO_COLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300, check=False)
    return done.stdout.rstrip()


def command_pages() -> dict[Path, str]:
    """Build a page for every command from its help."""
    pages = {}
    for name, summary in COMMANDS.items():
        head = f"# `trainworthy {name}`\n\n{summary[0].upper()}{summary[1:]}."
        text = f"{head}\n\n```\n{run(name, '--help')}\n```\n"
        pages[DOCS / "commands" / f"{name}.md"] = text
    return pages


def gpu_page() -> dict[Path, str]:
    """Build the tables of GPU and link rows; those of the user are not in them."""
    lines = [
        "# GPUs and links", "",
        "Dense peaks in TFLOP/s; one multiply-add is 2 FLOPs. Memory is what the driver reports.",
        "Each row is a file in `src/trainworthy/hardware/gpus/` with its sources, and is refused if counts, clocks and",
        "bus widths do not give the stated rates within 5 %.", "",
        "| id | names | memory | GB/s | bf16 | fp32 | W | GPU link, GB/s one way | capability |",
        "|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for row in built_in_rows().values():
        link = row.gpu_link
        cells = [
            f"`{row.id}`", ", ".join(row.names), format_bytes(row.memory_bytes), f"{row.memory_gb_per_s:g}",
            _known(row.peak_tflops("bf16")), _known(row.peak_tflops("fp32")), _known(row.power_w),
            UNKNOWN if link is None else f"{link.name}, {link.gb_per_s_per_direction:g}",
            ".".join(map(str, row.compute_capability)),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "", "A row of your own: copy one of the files, change it, and `trainworthy gpus add FILE`. It is checked,",
        "kept in `~/.config/trainworthy/gpus/` (or `$TRAINWORTHY_CONFIG/gpus/`), and works wherever `--gpu` does.",
        "Nothing is overwritten.", "", "## Links", "",
        "One direction; vendors advertise twice that. The bus bandwidth is what NCCL plans with, where it is known;",
        "a step is what each message of a collective costs whatever its size. Each row is a file in",
        "`src/trainworthy/hardware/links/`, checked against lanes and signalling rates.", "",
        "| id | other names | between | GB/s | bus GB/s | step us |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for link_row in link_rows().values():
        cells = [
            f"`{link_row.id}`", ", ".join(link_row.names),
            {"gpu": "GPUs", "host": "GPU and host", "network": "nodes"}[link_row.kind],
            f"{link_row.gb_per_s_per_direction:g}", _known(link_row.bus_gb_per_s), f"{link_row.step_latency_us:g}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return {DOCS / "gpus.md": "\n".join(lines) + "\n"}


def _known(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:g}"


def json_pages() -> dict[Path, str]:
    """Build the pages of the machine interfaces from their schemas."""
    return {
        DOCS / "json.md": _json_page("schema.json", "result", "The JSON result", "rehearse"),
        DOCS / "estimate-json.md": _json_page("estimate_schema.json", "estimate", "The JSON estimate", "estimate"),
    }


def _json_page(file: str, definition: str, title: str, command: str) -> str:
    schema: dict[str, Any] = json.loads((ROOT / "src/trainworthy/report" / file).read_text())
    result = schema["$defs"][definition]
    required = set(result["required"])
    lines = [
        f"# {title}", "",
        f"`trainworthy {command} --format json` prints one object; `tw.{command}(...)` returns the same as an",
        "object. Fields marked * are always there and keep their meaning within a `schema_version`.", "",
        "| field | type | meaning |", "|---|---|---|",
    ]  # fmt: skip
    for name, field in result["properties"].items():
        kind = field.get("type", _reference(field))
        shown = " or ".join(kind) if isinstance(kind, list) else kind
        lines.append(f"| `{name}`{' *' if name in required else ''} | {shown} | {field.get('description', '')} |")
    return "\n".join(lines) + "\n"


def _reference(field: dict[str, Any]) -> str:
    """Name the type of a field that has none of its own."""
    if "enum" in field:
        return "one of " + ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    options = [option for option in field.get("anyOf", [field]) if "$ref" in option]
    name = options[0]["$ref"].rsplit("/", 1)[-1] if options else "any"
    return f"{name} or null" if options and "anyOf" in field else name


def explain_page() -> dict[Path, str]:
    """Build the gallery of explanations: every subject with its first example."""
    lines = [
        "# Explanations", "",
        "`trainworthy explain SUBJECT` shows a rule step by step: the answer, a picture, the formula with its source,",
        "and code that proves it. Without options a subject shows a worked example;",
        "`trainworthy explain SUBJECT --help` lists its options. In a notebook,",
        '`trainworthy.explain("conv", 224, kernel=7)` draws the picture. The exit code is 1 if shapes do not go',
        "together, 2 for wrong use.", "",
        "Every example below is real output, and the tests run every snippet.", "",
    ]  # fmt: skip
    found = all_subjects().values()
    for group in GROUPS:
        members = [subject for subject in found if subject.group == group]
        if members:
            lines += [f"| {group} | |", "|---|---|"]
            lines += [f"| [`{subject.name}`](#{subject.name}) | {subject.summary} |" for subject in members] + [""]
    for subject in found:
        command, example = f"trainworthy explain {subject.name}", subject.examples[0]
        text = render_text(answer(subject.name, *example_words(example)), width=90, color=False)
        lines += [f"## {subject.name}", "", "```", f"$ {command} {example}", text.rstrip(), "```", ""]
        others = [f"`{command} {line}`" for line in subject.examples[1:]]
        if others:
            lines += ["More: " + ", ".join(others) + ".", ""]
    return {DOCS / "explain.md": "\n".join(lines).rstrip() + "\n"}


def quickstart() -> dict[Path, str]:
    """Put the real output of the first command into the README and the quickstart."""
    block = f"{_MARK}\n```\n$ trainworthy {' '.join(_EXAMPLE)}\n{run(*_EXAMPLE, columns=110)}\n```\n{_END}"
    pages = {}
    for path in (ROOT / "README.md", DOCS / "quickstart.md"):
        text = path.read_text()
        start = text.index(_MARK)
        end = text.index(_END) + len(_END) if _END in text else start + len(_MARK)
        pages[path] = text[:start] + _shorter(block, path) + text[end:]
    return pages


def _estimate_page(mark: str, words: tuple[str, ...], text: str | None = None) -> dict[Path, str]:
    """Put real output between two marks of the page of estimates."""
    path = DOCS / "estimate.md"
    text = path.read_text() if text is None else text
    start, end = text.index(f"<!-- {mark} -->"), text.index(f"<!-- /{mark} -->")
    block = f"<!-- {mark} -->\n```\n$ trainworthy {' '.join(words)}\n{run(*words, columns=110)}\n```\n"
    return {path: text[:start] + block + text[end:]}


def _shorter(block: str, path: Path) -> str:
    """Show the verdict and the module table in the README, everything in the quickstart."""
    if path.name != "README.md":
        return block
    lines = block.splitlines()
    stop = next((i for i, line in enumerate(lines) if line.startswith("Lines by bytes")), len(lines))
    return "\n".join([*lines[:stop], "...", "```", _END])


def readme_tables() -> dict[Path, str]:
    """Put the stored benchmark results into the README."""
    path = ROOT / "README.md"
    text = path.read_text()
    start, end = text.index(benchmark_table.MARK), text.index(benchmark_table.END) + len(benchmark_table.END)
    return {path: text[:start] + benchmark_table.tables() + text[end:]}


def quick_pages() -> dict[Path, str]:
    """Build every page that needs no rehearsal."""
    return {
        **command_pages(),
        **gpu_page(),
        **json_pages(),
        **explain_page(),
        **rule_pages.rule_pages(),
        **ecosystem_page.ecosystem_page(),
        **catalogue_page.catalogue_page(),
        **injected_page.injected_page(),
        **published_runs_page.page(),
        **resume_page.page(),
        **_estimate_page("estimate-model", _MODEL),
        **single_gpu_page.page(),
        **measured_gpu_page.page(),
        **recipes_page.page(),
        **train_page.page(),
        **parts_page.page(),
        **peers_page.page(),
        **traincheck_page.page(),
        **readme_tables(),
    }


def main() -> int:
    """Write the pages that changed and name them."""
    pages = quick_pages()
    for path, text in pages.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            sys.stdout.write(f"{path.relative_to(ROOT)}\n")
    if "--quick" not in sys.argv:  # after the tables: it goes into the README too
        for path, text in {**quickstart(), **_estimate_page("estimate-script", _ESTIMATE)}.items():
            path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
