"""A plan as a table for a person."""

from typing import Any

from hepcnn.stages.costs import CostPlan


def make_table(plan: CostPlan) -> Any:
    """The stages of a plan and their total, for rich to print."""
    from rich import box
    from rich.table import Table

    cores = f"{plan.parallel} core{'s' if plan.parallel != 1 else ''} at a time"
    table = Table(box=box.SIMPLE, pad_edge=False, title=f"study '{plan.study}' with {cores}", title_justify="left")
    table.add_column("stage", no_wrap=True)
    for title in ("jobs", "core-hours", "GPU-hours", "disk, GB", "wall time"):
        table.add_column(title, justify="right", no_wrap=True)
    for stage in plan.stages:
        row = (stage.core_hours, stage.gpu_hours, stage.disk_gb, stage.wall_hours)
        table.add_row(stage.stage, str(stage.jobs), *_cells(*row))
    table.add_section()
    jobs = sum(stage.jobs for stage in plan.stages)
    table.add_row("whole", str(jobs), *_cells(plan.core_hours, plan.gpu_hours, plan.disk_gb, plan.wall_hours))
    return table


def _cells(core_hours: float, gpu_hours: float | None, disk_gb: float, wall_hours: float) -> tuple[str, ...]:
    gpu = "unknown" if gpu_hours is None else f"{gpu_hours:.3g}" if gpu_hours else "-"
    return f"{core_hours:.3g}", gpu, f"{disk_gb:.3f}" if disk_gb else "-", describe_hours(wall_hours)


def describe_hours(hours: float) -> str:
    """A time in the unit in which it is read easily: 41 s, 5.5 min, 7.2 h, 3.1 days."""
    seconds = 3600 * hours
    for limit, size, unit in ((100, 1, "s"), (100 * 60, 60, "min"), (72 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}" if unit == "s" else f"{seconds / size:.1f} {unit}"
    return f"{seconds / 86400:.1f} days"
