"""``forensics synth``."""

from __future__ import annotations

from pathlib import Path

import click

from forensics_cli.output import Folder, note


@click.command("synth")
@click.argument("name")
@click.option("--out", type=Folder(), required=True, help="The folder of the checkpoint.")
@click.option("--rows", type=click.IntRange(min=1), help="Token rows; the planted model's own number if not given.")
@click.option("--dim", type=click.IntRange(min=1), help="Numbers in a row; the planted model's own if not given.")
@click.option("--seed", type=click.IntRange(min=0), help="Another seed, another matrix with the same structure.")
@click.option("--dtype", help="bfloat16, float16, float32, float8_e4m3fn or float8_e5m2.")
@click.option("--quiet", "-q", is_flag=True, help="No notes.")
def command(
    name: str, out: Path, rows: int | None, dim: int | None, seed: int | None, dtype: str | None, quiet: bool
) -> None:
    """Write a planted checkpoint with a known truth (truth.json beside the weights).

    NAME is qwen3-4b (the published structure of Qwen3-4B-Instruct-2507), healthy (no black holes), cause-zero,
    cause-mean and so on (rows that one maker of duplicates left), causes (several of them) or causes-none.
    """
    from forensics.synthetic import plant

    plant(name, rows=rows, dim=dim, seed=seed, dtype=dtype).write(out)
    note(f"planted checkpoint in {out}", quiet)
