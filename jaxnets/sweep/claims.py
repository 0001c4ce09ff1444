"""Who goes on with the trial of a worker that is gone: the first to claim it, as the storage numbers claims.

Optuna's storages number the trials of a study one after the other, whoever adds them and however many at once, and
that is all that is needed for others to agree: claims are trials of a study of their own, and the lowest counts.

A trial may itself be what ends its workers (out of memory, a segfault), and is not to do so for ever. Whoever has
claimed a trial says when it begins to train it. After `TOGETHER` workers were lost that had begun it, it is trained
alone, since only then is it known whose doing a loss is; after `ALONE` more it has failed. Its first worker, which has
no claim, says nothing, so that a sweep in which nobody dies writes nothing more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from jaxnets.sweep.storage import quiet

TOGETHER = 2  # workers that may be lost while they train a trial, before it is trained alone
ALONE = 3  # workers that may be lost while they train it alone, before it has failed


class Claims:
    """The claims on the trials of one study. The study that holds them is made with the first."""

    def __init__(self, storage: Any, study: str) -> None:
        self._storage, self._name = storage, f"{study} (requeued)"
        self._owners: dict[int, list[str]] | None = None
        self._begun: dict[int, set[str]] = {}

    def owner(self, trial: int, first: str | None) -> tuple[str | None, int]:
        """(whose the trial is now, how often it was claimed); `first` is who had it before any claim."""
        if self._owners is None:
            self._owners = self._read()
        claims = self._owners.get(trial, [])
        return (claims[-1], len(claims)) if claims else (first, 0)

    def add(self, trial: int, number: int, worker: str) -> bool:
        """Claims a trial for the `number`-th time; whether this claim was the first of that number."""
        self._write({"trial": trial, "claim": number, "worker": worker})
        self._owners = self._read()
        claims = self._owners.get(trial, [])
        return len(claims) >= number and claims[number - 1] == worker

    def begin(self, trials: Iterable[int], worker: str) -> None:
        """Notes that a worker begins to train these trials, each of which it has claimed."""
        for trial in trials:
            self._write({"trial": trial, "begun": True, "worker": worker})

    def begun(self, trial: int) -> Collection[str]:
        """The workers that said that they began this trial."""
        if self._owners is None:
            self._owners = self._read()
        return self._begun.get(trial, ())

    def _write(self, words: dict[str, Any]) -> None:
        from optuna.trial import TrialState, create_trial

        study = self._study(make=True)
        self._storage.create_new_trial(study, create_trial(state=TrialState.FAIL, user_attrs=words))

    def _read(self) -> dict[int, list[str]]:
        owners: dict[int, list[str]] = {}
        study = self._study(make=False)
        for one in [] if study is None else self._storage.get_all_trials(study, deepcopy=False):
            words = one.user_attrs
            workers = owners.setdefault(words["trial"], [])
            if words.get("begun"):
                self._begun.setdefault(words["trial"], set()).add(words["worker"])
            elif words["claim"] == len(workers) + 1:
                workers.append(words["worker"])
        return owners

    def _study(self, *, make: bool) -> int | None:
        import optuna

        try:
            return self._storage.get_study_id_from_name(self._name)
        except KeyError:
            if not make:
                return None
        try:
            with quiet():
                return self._storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], self._name)
        except optuna.exceptions.DuplicatedStudyError:
            return self._storage.get_study_id_from_name(self._name)
