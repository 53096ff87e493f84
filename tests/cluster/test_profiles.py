"""Each storage profile with twelve groups: the products of the local engine, and who moved what.

What a store is asked for goes through a proxy that counts, what volumes are asked for through a
file system that counts. `tests/support/drill_place.py` says what has to be set.
"""

import time

import pytest
from counted_folder import counted
from drill_place import Place, need_place, run_here, write_study, write_table

pytestmark = pytest.mark.cluster

GROUPS = 12
PROFILES = ("artifacts", "volume", "split", "sdk")
COLUMNS = (
    "profile", "wall s", "pods", "store requests", "store read B", "store written B",
    "volume read B", "volume written B", "inputs B", "inputs fetched",
    "inputs opened",
)  # fmt: skip


@pytest.fixture(scope="module")
def rows():
    found = {}
    yield found
    write_table(
        "profiles",
        f"Storage profiles: {GROUPS} groups of two scenes, nothing cached",
        COLUMNS,
        [found[name] for name in PROFILES if name in found],
    )


@pytest.fixture(scope="module")
def local(tmp_path_factory, reference):
    need_place()
    folder = tmp_path_factory.mktemp("local")
    study = write_study(folder, reference, groups=GROUPS)
    return run_here(study, folder / "run", folder / "cache")


@pytest.fixture
def place():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ARGO_SERVER", raising=False)
        found = Place()
        yield found
        found.clear()


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_makes_the_products_of_the_local_engine_and_fetches_inputs_once(
    profile, place, local, rows, tmp_path, reference
):
    here, there = place.folder()
    (here / "claim").mkdir()
    shared = here / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    proxy = place.proxy()
    keys = {"storage": profile, "store": ""}  # whatever the environment says
    if profile != "volume":
        keys |= {"store": place.new_store(), "store_endpoint": proxy.url}
    with (
        counted(here / "claim", here / "inputs-mount", here / "inputs.json") as inputs_seen,
        counted(shared, here / "shared-mount", here / "shared.json") as shared_seen,
    ):
        if profile in {"volume", "split"}:
            keys["inputs_claim"] = place.claim(f"{there}/inputs-mount", writable=False)
        if profile == "volume":
            keys["shared_claim"] = place.claim(f"{there}/shared-mount", writable=True)
        study = write_study(
            tmp_path / "study", reference, groups=GROUPS, more=place.settings(**keys)
        )
        files = list((study.parent / "inputs").iterdir())
        size = sum(path.stat().st_size for path in files)
        (here / "claim" / "inputs").mkdir()
        for path in files:
            (here / "claim" / "inputs" / path.name).write_bytes(path.read_bytes())
        begun = time.monotonic()
        prepared = place.submit(study, repository=place.repository(proxy.url))
        status = place.wait(prepared.name)
        wall = time.monotonic() - begun
        assert status.exit_code == 0, status.as_dict()
        asked = dict(proxy.traffic)
        shared_now = shared if profile == "volume" else None
        products = place.products(prepared, tmp_path / "products", shared_now)
        place.clear_pods(prepared.name)
        volume_in, volume_shared = inputs_seen(), shared_seen()
    reads = {path: row for (method, path), row in asked.items() if method == "GET"}
    from_store = sum(row[2] for path, row in reads.items() if "/inputs/water-" in path)
    opened = [row[0] for name, row in volume_in.items() if name.startswith("inputs/")]
    from_volume = sum(row[1] for name, row in volume_in.items() if name.startswith("inputs/"))
    rows[profile] = {
        "profile": profile, "wall s": f"{wall:.0f}", "pods": status.tally.pods,
        "store requests": sum(row[0] for row in asked.values()),
        "store read B": sum(row[2] for row in asked.values()),
        "store written B": sum(row[1] for row in asked.values()),
        "volume read B": sum(row[1] for row in [*volume_in.values(), *volume_shared.values()]),
        "volume written B": sum(row[2] for row in volume_shared.values()),
        "inputs B": size, "inputs fetched": f"{(from_store + from_volume) / size:.2f}",
        "inputs opened": sum(opened) / len(files) if opened else "",
    }  # fmt: skip
    assert products == local
    assert status.tally.pods == 2 + 3 * GROUPS
    assert not status.tally.classes, status.as_dict()
    assert from_store + from_volume == size
