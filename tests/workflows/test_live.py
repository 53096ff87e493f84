"""Live progress: what people see while a run goes on."""

import io

import pytest

from mdpipe.progress import Report
from mdpipe.workflows.graph import Step
from mdpipe.workflows.live import Eta, LineReporter, LiveReporter, clock_time, make_reporter
from mdpipe.workflows.outcome import Failure, Outcome, Running, View


def view(done=5, over=0, wall_s=3.0):
    step = Step("s", "simulate", ("true",), group="000", scene="nvt")
    running = (Running(step, 2.0, 1, Report("produce", done, 10, "12.3 ns/day")),)
    return View(
        {"computed": over, "running": 1, "waiting": 3 - over}, 4, running, 0.5, wall_s, True
    )


def test_without_a_terminal_one_line_tells_steps_rate_and_time_left():
    stream, now = io.StringIO(), [0.0]
    reporter = LineReporter(stream, lambda: now[0])
    for _ in range(40):
        reporter.update(view(done=int(now[0])))
        now[0] += 0.25
    assert len(stream.getvalue().splitlines()) == 1
    now[0] = 5.0
    reporter.update(view(done=5, over=1))
    last = stream.getvalue().splitlines()[-1]
    for word in ("1/4 steps", "50%", "simulate 000 nvt produce 5/10", "12.3 ns/day", "0:05 left"):
        assert word in last


def test_on_a_terminal_a_table_shows_each_running_scene_and_goes_away_at_the_end():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    reporter = make_reporter(stream=stream)
    assert isinstance(reporter, LiveReporter)
    reporter.update(view())
    reporter.note("a [note] with brackets")
    reporter.close()
    assert "12.3 ns/day" in stream.getvalue()
    assert "a [note] with brackets" in stream.getvalue()


def test_the_time_left_starts_anew_with_each_stage():
    now = [0.0]
    eta, step = Eta(lambda: now[0]), Step("s", "simulate", ("true",))
    assert eta.seconds(Running(step, 0, 1, Report("a", 0, 10))) is None
    now[0] = 2.0
    assert eta.seconds(Running(step, 0, 1, Report("a", 5, 10))) == pytest.approx(2.0)
    assert eta.seconds(Running(step, 0, 1, Report("b", 0, 10))) is None
    assert clock_time(3723) == "1:02:03"


@pytest.mark.parametrize("quiet", [True, False])
def test_the_last_lines_tell_what_failed_and_quiet_tells_nothing_else(tmp_path, quiet):
    stream = io.StringIO()
    failure = Failure("a", "render 000", "bug", "ValueError: x", "report it", tmp_path / "a.log")
    outcome = Outcome(70, {"computed": 3, "failed": 1}, (failure,), 2.0, interrupted=False)
    (tmp_path / "film.mp4").touch()
    reporter = make_reporter(quiet=quiet, stream=stream)
    reporter.update(view())
    before = len(stream.getvalue())
    reporter.finish(outcome, tmp_path)
    said = stream.getvalue()[before:]
    for word in ("failed: render 000: bug: ValueError: x", "remedy: report it", "a.log"):
        assert word in said
    assert ("film: " in said) is not quiet
    assert (before == 0) is quiet
