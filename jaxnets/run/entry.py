"""From an experiment and a folder to a result: opened by one run alone, checked, trained."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from jaxnets import config, distributed, remote, report
from jaxnets.admission import admit, admit_data
from jaxnets.config import Experiment
from jaxnets.files import read_json
from jaxnets.metrics import Opener
from jaxnets.profiling import Window
from jaxnets.progress import Progress
from jaxnets.remote import Home
from jaxnets.run.continuing import check_data, check_folder, check_same, check_teacher, differs
from jaxnets.run.drive import Drive
from jaxnets.run.lock import locked
from jaxnets.run.log import open_sinks
from jaxnets.run.result import Result
from jaxnets.signals import Signals


def run(
    experiment: Experiment,
    run_dir: str | Path,
    *,
    allow: Iterable[str] = (),
    progress: Progress | None = None,
    sinks: Iterable[Opener] | Callable[[Path], Iterable[Opener]] = (),
    profile: Window | None = None,
) -> Result:
    """Trains to the end, tests, and writes the report; on a folder that holds a run, continues it.

    run_dir: a folder, or a URL that fsspec knows, as in gs://bucket/runs/x; it works in a folder of this host then
    sinks: where the log goes as well; each is opened with the records that stand in the log already, at every start and
    again where a rollback cuts it. They are no part of the experiment, so they may change on the way. A function is
    given the folder that the run works in.
    profile: steps whose trace is written to `profile/`; no part of the experiment either.

    Raises ConfigError before anything compiles, if the experiment is not allowed or differs from the folder's in more
    than the paths of `allow`; DataError if the data is bad or has changed; Interrupted after a signal, once saved.
    """
    config.check(experiment)
    progress, allow = progress or Progress(), tuple(allow)
    with _opened(run_dir, experiment, allow, progress.say) as home, Signals() as signals, progress:
        run_dir = home.folder
        openers = tuple(sinks(run_dir) if callable(sinks) else sinks)
        if (run_dir / "result.json").exists() and not differs(run_dir, experiment):
            progress.say(f"{home.name} is finished; here is its result (another --run-dir starts a new run)")
            if not (run_dir / "report.html").exists() and distributed.first():  # killed between the two
                report.write(run_dir)
            with contextlib.ExitStack() as stack:
                open_sinks(run_dir, openers, stack)
            return Result(_place(home), read_json(run_dir / "result.json"))
        dataset = admit_data(experiment, say=progress.say)
        check_same(experiment, dataset.schema)
        check_data(experiment, dataset.schema, run_dir)
        admitted = admit(experiment, dataset)
        check_teacher(admitted, run_dir, allow)
        drive = Drive(admitted, home, progress, signals, allow=allow, sinks=openers, profile=profile)
        return Result(_place(home), drive.run())


@contextlib.contextmanager
def _opened(
    run_dir: str | Path, experiment: Experiment, allow: tuple[str, ...], say: Callable[[str], None]
) -> Iterator[Home]:
    """The home of a run of this experiment, which no other run is in."""
    if remote.is_url(run_dir):
        with remote.opened(str(run_dir), say=say) as home:
            check_folder(home.folder, experiment, allow)
            yield home
        return
    folder = Path(run_dir)
    check_folder(folder, experiment, allow)
    with locked(folder):
        yield remote.local(folder)


def _place(home: Home) -> Path | str:
    """Where the user finds the run."""
    return home.name if remote.is_url(home.name) else home.folder
