"""The loop that runs a graph: start, look after, retry, stop."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mdpipe import products
from mdpipe.failures import FailureClass, NoSpaceError, classify, classify_error, failure_class
from mdpipe.inject import Fault
from mdpipe.memory import read_peak_mb
from mdpipe.progress import read_progress
from mdpipe.run_folder import RunFolder
from mdpipe.steps.first_tier import TierRule
from mdpipe.workflows.graph import Graph, Step
from mdpipe.workflows.injection import Injector, no_machine
from mdpipe.workflows.interrupt import Interrupts
from mdpipe.workflows.job import Job, Pace
from mdpipe.workflows.outcome import Failure, Outcome, Reporter, View, cause_of, view_of
from mdpipe.workflows.resume import fingerprint, is_current
from mdpipe.workflows.runner import Ended, Launch, Runner
from mdpipe.workflows.schedule import Grant, Limits, choose, has_something, share_out
from mdpipe.workflows.story import GOOD, OVER, Attempt, StepStory, Story
from mdpipe.workflows.tiers import Tiers

UPDATE_S = 0.25


class Engine:
    """The loop and its state; one object for one run."""

    def __init__(
        self,
        run: Path,
        limits: Limits,
        pace: Pace,
        runner: Runner,
        reporter: Reporter,
        *,
        rule: TierRule | None = None,
        injector: Injector | None = None,
    ) -> None:
        self.folder = RunFolder(run)
        self.pace, self.limits = pace, limits
        self.runner, self.reporter = runner, reporter
        self.cached: Callable[[Step], bool] | None = None
        self.graph = Graph(())
        self.story = Story(run)
        self.jobs: dict[str, Job] = {}
        self.ready: dict[str, float] = {}
        self.tiers = Tiers(rule or TierRule(), limits.memory_mb)
        self.injector = injector
        self.earlier = {row[0]: row for row in self.story.earlier()}
        for _, size, peak_mb, _ in self.earlier.values():
            self.tiers.learn(size, peak_mb)
        self.failures: dict[str, Failure] = {}
        self.interrupts = Interrupts()
        self.random = random.Random()
        self.unclean = False
        self._changed = True
        self._updated = float("-inf")
        self._shared: frozenset[str] = frozenset()

    def run(
        self,
        graph: Graph,
        expand: Callable[[], Graph] | None,
        cached: Callable[[Step], bool] | None,
    ) -> Outcome:
        """Run to the end, whatever the end is; the arguments are those of `run_local`."""
        self.cached = cached
        self._adopt(graph)
        with self.interrupts:
            try:
                while True:
                    self._poll()
                    if self._changed:
                        self._settle()
                    if all(step.status in OVER for step in self.story.steps.values()):
                        if not self._grow(expand):
                            break
                        continue
                    if self.interrupts.count:
                        self._stop_all()
                    else:
                        self._start_ready()
                    self._share_out()
                    self._update()
                    time.sleep(self.pace.poll_s)
            finally:
                self._kill_all()
            return self._outcome()

    def _adopt(self, graph: Graph) -> None:
        """Take a graph over; what is known of its steps stays."""
        self.graph = graph
        for step in graph.steps:
            if step.id not in self.story.steps:
                story = StepStory(step.id, step.kind, step.group, step.scene, size=step.size)
                _, size, _, raised_mb = self.earlier.get(step.id, ("", "", 0.0, 0))
                if size == step.size:
                    self.tiers.stay(step.id, raised_mb)
                    story.raised_mb = raised_mb
                self.story.steps[step.id] = story
        if self.injector is not None:
            self.injector.know(graph)
            self.story.injected = self.injector.told()
        self._changed = True

    def _grow(self, expand: Callable[[], Graph] | None) -> bool:
        """Get the rest of an incomplete graph, once what is known has ended well."""
        good = all(step.status in GOOD for step in self.story.steps.values())
        if self.graph.complete or expand is None or not good or self.interrupts.count:
            return False
        before = self.graph
        self._adopt(expand())
        for old in before.steps:
            new = self.graph.by_id.get(old.id)
            if new is not None and new.products != old.products:
                self._record(new)
        return True

    def _settle(self) -> None:
        """Decide, for each step whose needs have ended, whether it is kept, cached or ready."""
        self._changed = False
        for step in self.graph.steps:
            story = self.story.steps[step.id]
            if story.status != "waiting" or step.id in self.ready:
                continue
            if self.interrupts.count:
                story.status = "stopped"
                continue
            statuses = [self.story.steps[need].status for need in step.needs]
            if not all(status in OVER for status in statuses):
                continue
            bad = [n for n, s in zip(step.needs, statuses, strict=True) if s not in GOOD]
            if bad and not (step.partial and has_something(self.graph, self.story, step)):
                story.status = "skipped"
                story.reason = f"needs {', '.join(bad[:3])}, which did not end well"
                continue
            story.without = bad
            if is_current(step, self.folder.path):
                manifest = products.load_manifest(self.folder.path, step.id)
                story.recall(dict(manifest.made) if manifest is not None else {})
                self.tiers.learn(step.size, story.peak_memory_mb)
                story.status = "kept"
            elif not self._from_cache(step, story):
                self.ready[step.id] = 0.0

    def _from_cache(self, step: Step, story: StepStory) -> bool:
        """Put a step's products in place from the cache, if it has them."""
        if self.cached is None:
            return False
        if self.injector is not None and (fault := self.injector.corrupt(step)) is not None:
            self._tell_fault(step, 0, fault)
        began = time.monotonic()
        try:
            if not self.cached(step):
                return False
        except Exception as error:  # noqa: BLE001 - without the cache the step just runs
            self.reporter.note(f"{step.label}: not taken from the cache: {error}")
            return False
        story.status = "cached"
        story.wall_s = round(time.monotonic() - began, 3)
        self._record(step)
        self._update()
        return True

    def _tell_fault(self, step: Step, attempt: int, fault: Fault) -> None:
        """Tell the user and the story of an injected fault."""
        if self.injector is not None:
            self.reporter.note(self.injector.note(step, attempt, fault))
            self.story.injected = self.injector.told()

    def _start_ready(self) -> None:
        """Start what may start."""
        now = time.monotonic()
        steps = [self.graph.by_id[name] for name, when in self.ready.items() if when <= now]
        running = [job.grant for job in self.jobs.values()]
        if not steps or len(running) >= self.limits.workers:
            return
        memory_mb = {step.id: self.tiers.of(step) for step in steps}
        for grant in choose(self.graph, steps, running, self.limits, memory_mb):
            self._start(self.graph.by_id[grant.step], grant)

    def _share_out(self) -> None:
        """Give the cores of what has ended to scenes that run, and take them back."""
        names = frozenset(self.jobs)
        if names == self._shared:
            return
        self._shared = names
        running = [(job.step, job.grant) for job in self.jobs.values()]
        for name, threads in share_out(running, self.limits).items():
            job = self.jobs[name]
            if job.handle.allow(threads):
                job.grant = replace(job.grant, threads=threads)

    def _start(self, step: Step, grant: Grant) -> None:
        """Start an attempt of a step."""
        story = self.story.steps[step.id]
        del self.ready[step.id]
        story.status = "running"
        number = len(story.attempts) + 1
        fault = self.injector.take(step) if self.injector is not None else None
        if fault is not None:
            self._tell_fault(step, number, fault)
        self.story.write(now=step.partial)
        launch = Launch(
            grant.threads, grant.memory_mb, number, self.folder.path, self.folder.log(step.id),
            self.folder.progress(step.id), fault.environment if fault is not None else {},
        )  # fmt: skip
        begun = time.monotonic()
        if fault is not None and fault.name == "out-of-stock":
            self._failed(step, grant, begun, no_machine(), failure_class(fault.name), fault)
            return
        try:
            handle = self.runner.start(step, launch)
        except OSError as error:
            ended = Ended(None, None, str(error), 0.0)
            self._failed(step, grant, begun, ended, classify_error(error), fault)
            return
        self.jobs[step.id] = Job(step, handle, grant, begun, fault)

    def _poll(self) -> None:
        """Look after what runs."""
        for job in list(self.jobs.values()):
            ended = job.handle.poll()
            if ended is None:
                job.limit_time(self.pace.grace_s)
                continue
            own_mb = read_peak_mb(self.folder.progress(job.step.id))
            ended = replace(ended, peak_memory_mb=own_mb or ended.peak_memory_mb)
            # what a signal ends cannot clear up after itself
            self.unclean = self.unclean or ended.signal is not None
            del self.jobs[job.step.id]
            if ended.good and self._good(job, ended):
                continue
            if ended.good:
                cause = "it ended well, but not all of its products are there"
                ended = Ended(0, None, cause, ended.peak_memory_mb)
                row = failure_class("bug")
            elif job.timed_out:
                row = failure_class("time-limit")
            else:
                row = classify(ended.exit_code, ended.signal, ended.tail, ended.oom_kills)
            self._failed(job.step, job.grant, job.begun, ended, row, job.fault)

    def _good(self, job: Job, ended: Ended) -> bool:
        """Note a step that ended well; say whether its products are really there."""
        story = self.story.steps[job.step.id]
        wall_s = round(time.monotonic() - job.begun, 3)
        story.attempts.append(
            Attempt(
                wall_s,
                ended.peak_memory_mb,
                job.grant.threads,
                job.grant.memory_mb,
                exit_code=0,
                injected=str(job.fault or ""),
            )
        )
        story.wall_s = round(story.wall_s + wall_s, 3)
        story.peak_memory_mb = max(story.peak_memory_mb, ended.peak_memory_mb)
        story.status = "computed"
        if not self._record(job.step):
            story.attempts.pop()
            return False
        self.tiers.learn(job.step.size, ended.peak_memory_mb)
        self._changed = True
        return True

    def _record(self, step: Step) -> bool:
        """Write the manifest of a step; say whether all its products are there."""
        run, story = self.folder.path, self.story.steps[step.id]
        expected = step.products
        if story.without:
            # from less than all of its needs, such as no film at all, it makes what it can
            expected = tuple(name for name in expected if (run / name).exists())
        try:
            made = products.record(run, step.id, expected, fingerprint(step, run), story.made())
        except (OSError, NoSpaceError) as error:
            self.reporter.note(f"{step.label}: its products could not be noted: {error}")
            return True
        return made is not None

    def _failed(
        self,
        step: Step,
        grant: Grant,
        begun: float,
        ended: Ended,
        row: FailureClass,
        fault: Fault | None = None,
    ) -> None:
        """Note a failed attempt, and try again or give up as the table says."""
        story = self.story.steps[step.id]
        self._changed = True
        attempt = Attempt(
            round(time.monotonic() - begun, 3), ended.peak_memory_mb, grant.threads,
            grant.memory_mb, row.name, cause_of(ended, row, grant.memory_mb), ended.exit_code,
            ended.signal, injected=str(fault or ""),
        )  # fmt: skip
        story.attempts.append(attempt)
        story.wall_s = round(story.wall_s + attempt.wall_s, 3)
        story.peak_memory_mb = max(story.peak_memory_mb, ended.peak_memory_mb)
        if self.interrupts.count:
            story.status = "stopped"
            return
        number = sum(other.failure == row.name for other in story.attempts)
        retries, possible, with_what = row.retries, row.change in self.runner.changes, ""
        if row.change == "more-memory":
            retries = self.tiers.rule.most - 1
            if possible and number <= retries:
                # the higher tier stays for all later attempts, in later runs too
                higher_mb = self.tiers.rise(step, grant.memory_mb)
                possible, story.raised_mb = higher_mb is not None, higher_mb or grant.memory_mb
                with_what = f" with {story.raised_mb} MB"
        if number > retries or not possible:
            self._give_up(step, story, row, attempt)
            return
        delay = row.backoff.delay_s(number, self.random.random()) * self.pace.delay_scale
        attempt.retry_in_s = round(delay, 4)
        story.status = "waiting"
        self.ready[step.id] = time.monotonic() + delay
        self.reporter.note(
            f"{step.label}: {row.name} ({attempt.cause}); again in {delay:.1f} s{with_what} "
            f"(retry {number} of {retries})"
        )
        self.story.write(now=True)

    def _give_up(self, step: Step, story: StepStory, row: FailureClass, attempt: Attempt) -> None:
        """Note a step that failed for good."""
        story.status, story.failure, story.remedy = "failed", row.name, row.remedy
        story.reason = attempt.cause
        log = self.folder.log(step.id)
        self.failures[step.id] = Failure(
            step.id, step.label, row.name, attempt.cause, row.remedy, log
        )
        self.reporter.note(f"{step.label}: failed: {row.name}: {attempt.cause}")

    def _stop_all(self) -> None:
        """Ask everything to stop; after the grace time, or when asked again, kill it."""
        for name in list(self.ready):
            del self.ready[name]
            self._changed = True
        for job in self.jobs.values():
            job.stop(self.pace.grace_s, at_once=self.interrupts.count > 1)
        if self.story.status == "running":
            self.story.status = "stopped"
            self._changed = True
            self.reporter.note("stopping at the next checkpoint; once more to stop at once")

    def _kill_all(self) -> None:
        """Leave nothing running, also after a fault of the engine itself."""
        for job in self.jobs.values():
            job.handle.kill()
        while self.jobs:
            self.jobs = {n: job for n, job in self.jobs.items() if job.handle.poll() is None}
            time.sleep(0.01)

    def _update(self) -> None:
        """Tell the listener and the story, now and then."""
        if time.monotonic() - self._updated < UPDATE_S:
            return
        self._updated = time.monotonic()
        self.reporter.update(self._view())
        self.story.write()

    def _view(self) -> View:
        """Return the run as it is now."""
        running = tuple(
            job.running(
                len(self.story.steps[name].attempts) + 1, read_progress(self.folder.progress(name))
            )
            for name, job in self.jobs.items()
        )
        return view_of(self.graph, self.story, running)

    def _outcome(self) -> Outcome:
        """Say how it ended, and write the story for the last time."""
        failures = tuple(self.failures[s.id] for s in self.graph.steps if s.id in self.failures)
        unfinished = any(step.status == "stopped" for step in self.story.steps.values())
        interrupted = self.interrupts.count > 0 and (unfinished or not self.graph.complete)
        code = 0
        if interrupted:
            code = self.interrupts.exit_code
        elif failures:
            code = failure_class(failures[0].failure).exit_code
        self.story.status = "stopped" if interrupted else "failed" if failures else "done"
        self.reporter.update(self._view())
        self.story.write(now=True)
        return Outcome(code, self.story.counts(), failures, self.story.wall_s, interrupted)
