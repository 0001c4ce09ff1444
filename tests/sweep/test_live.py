"""What a person sees of a sweep: a table that moves in a terminal, lines elsewhere, nothing if asked for."""

import io
import re
import sys

import sweeps

from jaxnets.sweep import live
from jaxnets.sweep.live import Live


class Clock:
    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(live.time, "monotonic", lambda: self.now)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def course(*ended, count=40):
    """The content of sweep.json after so many trials have ended; the rest is waiting."""
    content = sweeps.written(count)
    for done in ended:
        trials = [
            one if one["number"] < done else one | {"state": "waiting", "values": None} for one in content["trials"]
        ]
        complete = [one for one in trials if one["values"]]
        best = min(complete, key=lambda one: one["values"][0], default=None)
        yield content | {"trials": trials, "best": best}


def test_lines_come_now_and_then_and_the_last_at_the_end(capsys, monkeypatch):
    clock = Clock(monkeypatch)
    with Live() as shown:
        for figures in course(0, 4, 10, 20, 40):
            shown.show(figures)
            clock.now += 2.0
        shown.say("a word")
    lines = capsys.readouterr().out.splitlines()
    assert [re.match(r"(\S+ \S+)  ", one)[1] if one != "a word" else one for one in lines] == [
        "trials 0/40", "trials 20/40", "a word", "trials 40/40",
    ]  # fmt: skip
    # 20 trials in 6 s are 12,000 an hour; 20 more take 6 s
    assert lines[1].endswith("12,000 an hour  left 6 s") and "20 waiting" in lines[1]
    content = sweeps.written(40)
    best = content["best"]
    assert f"best valid.loss {best['values'][0]:.4g} (trial {best['number']}: lr " in lines[-1]
    states = [one["state"] for one in content["trials"]]
    assert f"{states.count('complete')} complete  {states.count('pruned')} pruned" in lines[-1]


def test_a_sweep_that_goes_on_does_not_count_what_was_there(capsys, monkeypatch):
    clock = Clock(monkeypatch)
    with Live() as shown:
        for figures in course(30, 35):
            shown.show(figures)
            clock.now += 10.0
    assert capsys.readouterr().out.splitlines()[-1].endswith("1,800 an hour  left 10 s")  # 5 in 10 s


def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "110")
    monkeypatch.delenv("NO_COLOR", raising=False)
    found = Terminal()
    monkeypatch.setattr(sys, "stdout", found)
    monkeypatch.setattr("rich._console", None)  # the one for standard output, made when first asked for
    return found


def test_a_terminal_shows_one_table_that_moves(monkeypatch):
    clock, screen = Clock(monkeypatch), terminal(monkeypatch)
    with Live() as shown:
        for figures in course(0, 10, 40):
            shown.show(figures)
            clock.now += 1.0
        shown.say("a [word]")
    text = screen.getvalue()
    assert "\x1b[1A" in text and "\x1b[2K" in text  # it goes up and draws again
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text[text.index("40 of 40") :])
    content = sweeps.written(40)
    rows = last.splitlines()
    assert re.search(rf"best +{content['best']['number']} +complete +{content['best']['values'][0]:.4g} +lr ", last)
    recent = [int(row.split()[0]) for row in rows if re.match(r" +\d+ +(complete|pruned|failed) ", row)]
    assert recent[:6] == [39, 38, 37, 36, 35, 34]
    failed = next(one for one in content["trials"][::-1] if one["state"] == "failed")
    assert failed["number"] < 34 or failed["why"] in last
    assert "a [word]" in text and 110 >= max(map(len, rows)) > 100 and "…" in last


def test_a_narrow_terminal_shows_how_long_it_takes_and_every_setting(monkeypatch):
    clock, screen = Clock(monkeypatch), terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", "80")
    content = sweeps.written(40)
    for one in content["trials"]:
        one["settings"] = {"model.dropout": None}
    content["trials"][5].update(state="pruned", values=None, why="stopped at step 2")
    with Live() as shown:
        for count in (4, 6):
            shown.show(content | {"trials": content["trials"][:count], "wanted": 1000, "best": None})
            clock.now += 1.0
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert "7,200 an hour   left 8:17" in last and "stopped at step 2  dropout none" in last


def test_quiet_is_quiet(capsys):
    with Live(quiet=True) as shown:
        shown.say("a word")
        for figures in course(0, 10):
            shown.show(figures)
    assert capsys.readouterr().out == ""
