"""How many threads a run uses: what its own steps say."""

import numpy as np

from mdpipe.scenes.spec import Scene
from mdpipe.simulation.simulation import Simulation
from mdpipe.simulation.threads import LONGEST_HOLD_S, TURN, ThreadChoice
from mdpipe.state import State


class Machine:
    """A clock, and steps that take what a function of the number of threads says."""

    def __init__(self, most, seconds):
        self.now = 0.0
        self.seconds = seconds
        self.used = []
        self.threads = most
        self.choice = ThreadChoice(most, self.set)

    def set(self, threads):
        self.threads = threads

    def run(self, steps):
        for number in range(steps):
            took = self.seconds(self.threads)
            if number % 15 == 0:
                took *= 3.0  # the list is built
            self.used.append(self.threads)
            self.now += took
            self.choice.note(took, self.now)


def test_threads_that_help_are_kept():
    machine = Machine(2, lambda threads: 0.01 / threads)
    machine.run(3000)
    assert machine.choice.threads == 2
    assert np.mean(np.array(machine.used) == 1) < 0.03


def test_threads_that_cost_more_than_they_give_are_left_alone():
    machine = Machine(2, lambda threads: 0.0004 if threads == 1 else 0.0006)
    machine.run(20_000)
    assert machine.choice.threads == 1
    assert np.mean(np.array(machine.used) == 2) < 0.03


def test_a_number_that_is_hardly_better_is_not_changed_to():
    machine = Machine(2, lambda threads: 0.01 if threads == 2 else 0.0098)
    machine.run(3000)
    assert machine.choice.threads == 2
    assert np.mean(np.array(machine.used) == 1) < 0.03


def test_the_best_of_many_is_found_by_way_of_its_neighbours():
    machine = Machine(16, lambda threads: 0.008 / threads + 0.0005 * threads)
    machine.run(200)
    assert machine.choice.threads == 4


def test_a_busy_machine_is_noticed_and_so_is_its_end():
    machine = Machine(2, lambda threads: 0.01 / threads)
    machine.run(200)
    machine.seconds = lambda threads: 0.01 if threads == 1 else 0.05
    machine.run(round(2.0 * LONGEST_HOLD_S / 0.05))
    assert machine.choice.threads == 1
    machine.seconds = lambda threads: 0.01 / threads
    machine.run(round(2.0 * LONGEST_HOLD_S / 0.01))
    assert machine.choice.threads == 2


def test_a_thread_that_is_taken_away_is_not_used_and_one_that_is_given_is_tried_at_once():
    machine = Machine(2, lambda threads: 0.01 / threads)
    machine.run(300)
    machine.choice.allow(1)
    machine.used.clear()
    machine.run(300)
    assert set(machine.used) == {1}
    machine.choice.allow(4)
    machine.run(100)
    assert machine.choice.threads == 4


def test_one_thread_is_never_tried_against_anything():
    machine = Machine(1, lambda _threads: 0.001)
    machine.run(10 * TURN)
    assert set(machine.used) == {1}


def test_bits_are_the_same_whenever_the_number_of_threads_changes(reference):
    data = np.load(reference / "conf_w216a.npz")
    water = State(data["pos"], data["vel"], data["box"])
    scene = Scene(name="a", ensemble="npt", steps=1)
    draw = np.random.default_rng(3)
    plain, changing = Simulation(scene, water, threads=1), Simulation(scene, water, threads=2)
    plain.step(40)
    for _ in range(40):
        changing.threads._apply(int(draw.integers(1, 3)))
        changing.step(1)
    assert np.array_equal(plain.state.positions, changing.state.positions)
    assert np.array_equal(plain.state.velocities, changing.state.velocities)
    assert plain.energies() == changing.energies()
