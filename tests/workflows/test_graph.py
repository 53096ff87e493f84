"""The graph: plain data, checked, and built from a study and its plan."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdpipe.steps.fingerprint import input_files
from mdpipe.study import study_from_table
from mdpipe.workflows.graph import Graph, GraphError, Resources, Step
from mdpipe.workflows.schedule import Grant, Limits, by_priority, choose, share_out
from mdpipe.workflows.study_graph import build_graph


def step(name, *needs, seconds=1.0, **other):
    return Step(name, "simulate", ("true",), needs, resources=Resources(seconds=seconds), **other)


def plan_line(index, scenes=("nvt", "npt", "nve")):
    return {
        "id": f"{index:03d}",
        "n_molecules": 500,
        "scenes": [
            {"name": s, "key": f"{index:02d}{i}".ljust(64, "0"), "spec": {"steps": 100}}
            for i, s in enumerate(scenes)
        ],
    }


@pytest.fixture
def study(tmp_path):
    (tmp_path / "inputs").mkdir()
    (tmp_path / "inputs" / "a.gro").write_text("water")
    table = {"name": "demo", "inputs": [{"path": "inputs"}]}
    return study_from_table(table, tmp_path / "study.toml")


def build(study, plan):
    return build_graph(study, study.folder / "run", plan, study_file=study.folder / "study.toml")


def test_a_study_without_a_plan_is_preprocess_alone_and_not_complete(study):
    graph = build(study, None)
    assert [s.id for s in graph.steps] == ["preprocess"]
    assert not graph.complete


def test_a_render_needs_its_own_groups_scenes_only_and_combine_needs_all_renders(study):
    graph = build(study, [plan_line(0), plan_line(1)])
    assert graph.complete
    assert len(graph.steps) == 1 + 2 * 4 + 1
    assert graph.by_id["render-001"].needs == (
        "simulate-001-nvt",
        "simulate-001-npt",
        "simulate-001-nve",
    )
    assert graph.by_id["combine"].needs == ("render-000", "render-001")
    assert graph.by_id["combine"].partial
    assert graph.by_id["simulate-000-nvt"].needs == ("preprocess",)
    assert graph.by_id["simulate-001-npt"].products == ("groups/001/npt/",)
    assert "groups/001/npt.mp4" in graph.by_id["render-001"].products
    command = graph.by_id["simulate-001-npt"].command
    assert command[:2] == ("mdpipe", "simulate")
    assert command[command.index("--group") + 1] == "1"
    assert command[command.index("--scene") + 1] == "npt"


def test_a_graph_survives_its_json_form(study):
    graph = build(study, [plan_line(0), plan_line(1)])
    again = Graph.from_json(graph.to_json())
    assert again.steps == graph.steps
    assert again.complete
    json.loads(graph.to_json())


def test_a_change_of_the_pictures_changes_renders_and_combine_but_no_scene(study):
    other = study.model_copy(update={"render": study.render.model_copy(update={"width": 640})})
    plan = [plan_line(0)]
    one, two = build(study, plan), build(other, plan)
    changed = {a.id for a, b in zip(one.steps, two.steps, strict=True) if a.settings != b.settings}
    assert changed == {"render-000", "combine"}


def test_a_changed_input_file_changes_preprocess_and_hidden_files_or_products_do_not(study):
    first = build(study, None).steps[0].settings
    (study.folder / "inputs" / ".a.xtc_offsets.npz").write_text("index")
    run = study.folder / "inputs" / "run"
    run.mkdir()
    (run / "plan.jsonl").write_text("")
    assert len(input_files(study.inputs, study.folder, run)) == 1
    (run / "plan.jsonl").unlink()
    assert build(study, None).steps[0].settings == first
    (study.folder / "inputs" / "a.gro").write_text("other water")
    assert build(study, None).steps[0].settings != first


def test_inputs_are_found_by_folder_file_and_glob(study):
    (study.folder / "inputs" / "b.pdb").write_text("x")
    for path, number in (("inputs", 2), ("inputs/*.pdb", 1), ("inputs/a.gro", 1), ("no/*", 0)):
        table = {"name": "x", "inputs": [{"path": path}]}
        other = study_from_table(table, study.folder / "study.toml")
        assert len(input_files(other.inputs, other.folder, study.folder / "run")) == number


@pytest.mark.parametrize(
    ("steps", "what"),
    [
        ((step("a"), step("a")), "unique"),
        ((step("a", "b"),), "b, which is no step"),
        ((step("a", "b"), step("b", "a")), "circle"),
        ((step("a", "a"),), "circle"),
    ],
)
def test_a_graph_that_cannot_run_is_refused_with_the_culprit(steps, what):
    with pytest.raises(GraphError, match=what):
        Graph(steps)


@settings(deadline=None)
@given(st.permutations(range(8)), st.randoms(use_true_random=False))
def test_steps_stand_in_an_order_in_which_they_can_run(order, random):
    steps = [
        step(str(i), *{str(random.randrange(i)) for _ in range(2)} if i else ()) for i in range(8)
    ]
    place = {s.id: i for i, s in enumerate(Graph(tuple(steps[i] for i in order)).steps)}
    assert all(place[need] < place[s.id] for s in steps for need in s.needs)


def test_a_render_goes_before_the_scenes_of_a_group_with_no_longer_chain():
    graph = Graph((step("sim1", seconds=9), step("sim2", seconds=9),
                   step("render1", "sim1"), step("render2", "sim2")))  # fmt: skip
    ready = [graph.by_id["sim2"], graph.by_id["render1"]]
    assert [s.id for s in by_priority(graph, ready)] == ["render1", "sim2"]


def test_the_longest_chain_is_started_first():
    graph = Graph((step("short", seconds=1), step("long", seconds=1), step("end", "long")))
    assert [s.id for s in by_priority(graph, graph.steps[:2])] == ["long", "short"]


def wide(**memory):
    steps = tuple(
        Step(n, "simulate", ("true",), resources=Resources(64, m)) for n, m in memory.items()
    )
    return Graph(steps), {n: m for n, m in memory.items()}  # noqa: C416


def test_threads_are_shared_out_among_what_starts():
    graph, memory = wide(a=100, b=100, c=100)
    grants = choose(graph, graph.steps, [], Limits(2, 8, 1000), memory)
    assert [g.threads for g in grants] == [4, 4]
    assert [g.threads for g in choose(graph, graph.steps[:1], [], Limits(2, 8, 1000), memory)] == [
        8
    ]
    one = choose(graph, graph.steps[1:], grants[:1], Limits(2, 8, 1000), memory)
    assert [g.threads for g in one] == [4]


def test_cores_that_nothing_else_wants_go_to_scenes_that_run():
    graph, _ = wide(a=100, b=100, c=100)
    a, b, c = graph.steps
    limits = Limits(8, 8, 1000)
    assert share_out([(a, Grant("a", 1, 100))], limits) == {"a": 8}
    two = [(a, Grant("a", 8, 100)), (b, Grant("b", 1, 100))]
    assert share_out(two, limits) == {"a": 4, "b": 4}
    even = [(s, Grant(s.id, n, 100)) for s, n in ((a, 2), (b, 3), (c, 3))]
    assert share_out(even, limits) == {}


def test_steps_that_cannot_change_keep_their_threads():
    graph, _ = wide(a=100)
    scene = (graph.steps[0], Grant("a", 4, 100))
    film = Step("film", "render", ("true",), resources=Resources(64))
    assert share_out([scene, (film, Grant("film", 3, 100))], Limits(4, 4, 1000)) == {"a": 1}
    assert share_out([(film, Grant("film", 1, 100))], Limits(4, 4, 1000)) == {}


def test_threads_that_the_user_has_fixed_stay():
    graph, _ = wide(a=100)
    assert share_out([(graph.steps[0], Grant("a", 1, 100))], Limits(4, 4, 1000, 1)) == {}


def test_more_scenes_than_cores_get_one_thread_each():
    graph, _ = wide(a=100, b=100, c=100)
    running = [(step, Grant(step.id, 2, 100)) for step in graph.steps]
    assert share_out(running, Limits(4, 2, 1000)) == {"a": 1, "b": 1, "c": 1}


def test_what_runs_together_never_needs_more_memory_than_there_is():
    graph, memory = wide(a=600, b=600, c=100)
    limits = Limits(4, 4, 1000)
    assert [g.step for g in choose(graph, graph.steps, [], limits, memory)] == ["a"]
    assert choose(graph, graph.steps[1:], [Grant("a", 1, 600)], limits, memory) == []


def test_a_step_that_needs_more_than_there_is_runs_alone():
    graph, memory = wide(a=5000, b=100)
    limits = Limits(4, 4, 1000)
    assert [g.step for g in choose(graph, graph.steps, [], limits, memory)] == ["a"]
    assert choose(graph, graph.steps[:1], [Grant("b", 1, 100)], limits, memory) == []


def test_a_thousand_groups_are_built_and_ordered_quickly(study):
    before = time.monotonic()
    graph = build(study, [plan_line(i) for i in range(1000)])
    assert len(graph.chains) == 4002
    assert time.monotonic() - before < 3  # linear work takes a few tenths; quadratic far longer
