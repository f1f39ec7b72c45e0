"""The verbs about tracked runs: track sync, repair, ui, gc."""

from pathlib import Path
from typing import Annotated

import typer

from hepcnn.cli.app import app

track_app = typer.Typer(help="Bring runs to MLflow, and look at them.", no_args_is_help=True)
app.add_typer(track_app, name="track")

UriOption = Annotated[str, typer.Option(help="The MLflow store; by default as the config or the run says.")]


@track_app.command("sync")
def track_sync_verb(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Run folders, or folders of studies: all that was spooled there.")
    ] = None,
    config: Annotated[
        list[Path] | None, typer.Option("--config", "-c", help="Studies; by default all of results/*/config.yaml.")
    ] = None,
    uri: UriOption = "",
    experiment: Annotated[str, typer.Option(help="The experiment there; by default what the run says.")] = "",
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the run, of one folder, has ended.")] = False,
    or_later: Annotated[
        bool,
        typer.Option(
            "--or-later", help="Of studies: a store that cannot be used is no failure, as at the end of a workflow."
        ),
    ] = False,
) -> None:
    """Bring runs to MLflow; what is there already is left alone, and what was cut off goes on."""
    if follow:
        _follow(folders or [], uri, experiment)
        return
    from hepcnn import console
    from hepcnn.config import read_study
    from hepcnn.errors import InputError
    from hepcnn.tracking.later import sync_or_later
    from hepcnn.tracking.sync import sync_paths, sync_study

    if folders:
        if config:
            raise typer.BadParameter("name folders or --config, not both")
        runs = sync_paths(folders, uri=uri, experiment=experiment, say=console.err.print)
        console.out.print(f"{sum(run.is_new for run in runs)} new runs, {sum(run.n_points for run in runs)} new points")
        return
    configs = config or sorted(Path("results").glob("*/config.yaml"))
    if not configs:
        raise InputError("no study here: no results/*/config.yaml; name one with --config")
    for path in configs:
        study = read_study(path)
        changes = {name: value for name, value in (("uri", uri), ("experiment", experiment)) if value}
        study = study.model_copy(update={"tracking": study.tracking.model_copy(update=changes)})
        runs = (sync_or_later if or_later else sync_study)(study, say=console.err.print)
        n_new = sum(run.is_new for run in runs)
        console.out.print(f"{study.study}: {n_new} new runs in {study.tracking.store}, {len(runs)} in all")


def _follow(folders: list[Path], uri: str, experiment: str) -> None:
    import os

    from hepcnn import console
    from hepcnn.tracking.follow import follow_run

    if len(folders) != 1:
        raise typer.BadParameter("--follow takes the folder of one run")
    os.nice(10)  # the training beside it goes first
    if not follow_run(folders[0], uri=uri, experiment=experiment, say=console.err.print):
        console.err.print("not all was pushed: 'hepcnn track sync' will do it")


@track_app.command("repair")
def track_repair_verb(
    folders: Annotated[list[Path] | None, typer.Argument(help="Where to look; by default results.")] = None,
    idle: Annotated[float, typer.Option(help="Hours after which another machine's silent run is dead.")] = 6.0,
) -> None:
    """End runs as KILLED whose process is gone without a word; 'hepcnn track sync' then tells the store."""
    from hepcnn import console
    from hepcnn.spool.reader import find_spools
    from hepcnn.spool.repair import close_orphans

    closed = close_orphans(find_spools(folders or [Path("results")]), idle=3600 * idle, say=console.err.print)
    for path in closed:
        console.out.print(f"{path}: ended as KILLED")
    console.out.print(f"{len(closed)} runs were ended")


@track_app.command("ui")
def track_ui_verb(
    uri: UriOption = "",
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 is for all machines, and asks for a password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port there.")] = 5000,
    login: Annotated[
        bool | None,
        typer.Option(
            help="Ask for a password, which is printed; by default where others could open the page: with --host, and "
            "on machines reached by ssh.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Open the dashboard on this machine, until Ctrl-C."""
    from hepcnn import console
    from hepcnn.config import TrackingConfig
    from hepcnn.tracking.ui import open_dashboard

    def say(sentence: str) -> None:
        # An address that is broken over two lines cannot be clicked on.
        console.err.print(sentence, markup=False, highlight=False, soft_wrap=True)

    raise typer.Exit(open_dashboard(uri or TrackingConfig().store, host=host, port=port, login=login, say=say))


@track_app.command("gc")
def track_gc_verb(
    uri: UriOption = "",
    older_than: Annotated[str, typer.Option(help="Only what was deleted so long ago, as in 30d.")] = "",
) -> None:
    """Remove for good what was deleted in the store: runs, their points and their files."""
    from hepcnn import console
    from hepcnn.config import TrackingConfig
    from hepcnn.tracking.ui import remove_deleted

    console.out.print(remove_deleted(uri or TrackingConfig().store, older_than=older_than) or "nothing to remove")
