"""The commands, each a few lines: what they do is in the modules beside this one."""

from pathlib import Path
from typing import Annotated, Any

import typer
from pulumi import automation
from rich.console import Console
from rich.table import Table

from penstock.command import cost as costs
from penstock.command import doctor as doctors
from penstock.command import interrupted, promotion
from penstock.command import logs as logging
from penstock.command import pages as paging
from penstock.command import status as statuses
from penstock.command.project import Project
from penstock.command.stack import Deployed
from penstock.errors import PenstockError

app = typer.Typer(
    name="penstock",
    help="What operating a Penstock stack takes beside plain `pulumi`. Run it inside the project.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console(highlight=False, soft_wrap=True)
StackName = Annotated[str, typer.Option("--stack", "-s", help="The stack.", show_default=True)]
Up = Annotated[bool, typer.Option("--up", help="Run `up` as well.")]
LOCAL = "local"


@app.command()
def doctor(stack: StackName = LOCAL) -> None:
    """What this machine lacks for a stack, each with its cure. Exit code 1 where something is missing."""
    found = list(doctors.findings(Project.around(Path.cwd()), stack))
    for each in found:
        out.print(f"{'ok     ' if each.good else 'MISSING'}  {each.what}: {each.said}", markup=False)
        if not each.good:
            out.print(f"         cure: {each.cure}", markup=False)
    raise typer.Exit(0 if all(each.good for each in found) else 1)


@app.command()
def status(stack: StackName = LOCAL) -> None:
    """Stages with their last results, and the endpoint: processes or pods, versions and who answers how much."""
    state = _deployed(stack).state
    table = _table("stage", "state", "digest", "result", "running")
    for each in statuses.stages(state):
        table.add_row(each.name, each.state, each.digest, each.result, each.roles)
    out.print(table)
    endpoint = statuses.endpoint(state)
    if endpoint is None:
        out.print(f"endpoint {state.outputs.get('endpoint', 'none')}")
        return
    out.print(f"endpoint {endpoint.url}\n  {endpoint.state}\n  replicas: {endpoint.replicas}", markup=False)
    for version in endpoint.versions:
        out.print(f"  version {version.number}  {version.digest}  {version.share}", markup=False)
    if endpoint.rollout:
        out.print(f"  {endpoint.rollout}", markup=False)


@app.command()
def logs(
    stage: Annotated[str | None, typer.Argument(help="A part of a stage's name: tune, train, serve.")] = None,
    role: Annotated[str | None, typer.Argument(help="chief, worker, worker-1, ps, trial, server.")] = None,
    stack: StackName = LOCAL,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Of each log, so many of the last lines.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines until Ctrl-C.")] = False,
) -> None:
    """The logs of stages and endpoint."""
    state = _deployed(stack).state
    if not state.here and (state.jobs or state.servers or state.cloud_run is not None):
        raise typer.Exit(logging.cluster(state, stage, role, lines, follow))
    files = logging.local(state, stage, role)
    logging.show(files, lines, follow, lambda name, line: out.print(f"{name} | {line}", markup=False))


@app.command()
def page(
    which: Annotated[paging.Page, typer.Argument(help="Of the data, of the study, or of the model.")],
    stack: StackName = LOCAL,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File. Default: NAME.html, here.")] = None,
) -> None:
    """Bring a page that a stage has left for people here, from the pods' claim or the bucket: where it lies now."""
    content = paging.content(_deployed(stack).state, which)
    file = (output or Path(f"{which.value}.html")).absolute()
    file.write_bytes(content)
    out.print(file.as_uri())


@app.command()
def promote(
    version: Annotated[
        str, typer.Argument(help="latest, previous, a number or a digest; on Google Cloud a digest.")
    ] = "latest",
    stack: StackName = LOCAL,
    source: Annotated[
        str | None, typer.Option("--from", help="Take the digest of the model that this stack has made.")
    ] = None,
    up: Up = False,
) -> None:
    """Let another model answer: changes one line of the stack's configuration and says what `up` will do."""
    deployed = _deployed(stack)
    if source is not None:
        version = str(_deployed(source).state.outputs["model_digest"])
    if deployed.state.promotes:
        change = promotion.to_digest(deployed.project, stack, version)
    else:
        change = promotion.to_version(deployed.project, deployed.state, version)
    _change(deployed, change, up)


@app.command()
def rollback(stack: StackName = LOCAL, up: Up = False) -> None:
    """Let the model that answered before the present one answer again: as `promote`. Twice goes two back."""
    deployed = _deployed(stack)
    if deployed.state.promotes:
        current = costs.google_environment(deployed.project, stack).model
        change = promotion.to_digest(deployed.project, stack, promotion.before(deployed, current))
    else:
        change = promotion.to_version_before(deployed.project, deployed.state)
    _change(deployed, change, up)


@app.command()
def unlock(stack: StackName = LOCAL) -> None:
    """Release the lock of a run that was killed; one that may still run keeps it."""
    backend = Project.around(Path.cwd()).backend
    if backend is None:
        raise PenstockError(f"the state is not in this project's own folder: `pulumi cancel -s {stack}` is for others")
    released = interrupted.release_lock(backend, stack)
    for who in released:
        out.print(f"the run of {who} is gone: its lock on stack {stack} is released", markup=False)
    if not released:
        out.print(f"stack {stack} is not locked")


@app.command()
def cost(stack: StackName = LOCAL) -> None:
    """What the stack costs by its configuration, and how far its budget's guard is; nothing has to be deployed."""
    estimate = dict(costs.estimated(Project.around(Path.cwd()), stack))
    for row in estimate.pop("rows", []):
        out.print(f"  {row}", markup=False)
    for name, value in estimate.items():
        said = f"{value[0]:g} to {value[1]:g}" if name.startswith("usd_") and isinstance(value, list) else value
        out.print(f"{name}: {said}", markup=False)
    if told := costs.guarded(Project.around(Path.cwd()), stack):
        out.print(f"budget: {told}", markup=False)


@app.command()
def verify(
    stack: StackName = LOCAL,
    host: Annotated[
        str | None, typer.Option(help="Where the endpoint serves, as testinfra names it: ssh://user@box.")
    ] = None,
) -> None:
    """Check the running endpoint: processes or pods, port, seal, a prediction, the range, no public exposure."""
    from penstock.command import verify as verification

    raise typer.Exit(verification.verify(_deployed(stack).state, host))


def run() -> int:
    """The command line; what is a person's to put right is one line, without a traceback."""
    try:
        app()
    except PenstockError as exc:
        return _failed(str(exc))
    except automation.CommandError as exc:
        return _failed(f"`pulumi` failed:\n{exc}")
    return 0


def _failed(said: str) -> int:
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"error: {said}", markup=False)
    return 1


def _deployed(stack: str) -> Deployed:
    return Deployed(Project.around(Path.cwd()), stack)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _change(deployed: Deployed, change: promotion.Change, up: bool) -> None:
    file = deployed.set(change.key, change.value)
    out.print(f"{file}: {change.key} is {change.value} (it was {change.before or 'not set'})", markup=False)
    out.print(f"then {change.says}", markup=False)
    plan = promotion.preview(deployed)
    out.print(
        "`up` will change: " + (", ".join(f"{name} ({op})" for name, op in plan.items()) or "nothing"), markup=False
    )
    wrong = promotion.refused(deployed.project, deployed.name, plan)
    if wrong:
        raise PenstockError("\n".join(wrong))
    if not up:
        out.print(f"`pulumi up -s {deployed.name}`, or this command with --up, does it")
        return
    result: Any = deployed.automation.up(on_output=lambda line: out.print(line, end="", markup=False))
    out.print(f"up: {result.summary.result}")
