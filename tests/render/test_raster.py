"""The rasteriser against rays in plain NumPy, and against geometry."""

import numpy as np
import pytest

from mdpipe.render import naive
from mdpipe.render.raster import (
    TILE,
    Lens,
    Shapes,
    bin_shapes,
    cast,
    cylinder_bounds,
    sphere_bounds,
)

LENS = Lens(180.0, 47.3, 38.6, 96, 80)


def make_shapes(spheres, cylinders, lens=LENS):
    spheres = np.asarray(spheres, float).reshape(-1, 4)
    cylinders = np.asarray(cylinders, float).reshape(-1, 7)
    bounds = np.concatenate([sphere_bounds(spheres, lens), cylinder_bounds(cylinders, lens)])
    count = len(bounds)
    return Shapes(spheres, cylinders, np.ones((count, 3)), bounds, count, np.empty((0, 6)))


def cast_picture(shapes, lens=LENS, samples=2):
    """What `cast` sees, tile by tile through the bins as the renderer does."""
    columns, rows = -(-lens.width // TILE), -(-lens.height // TILE)
    starts, items = bin_shapes(shapes.bounds, columns, rows, 0)
    n = TILE * samples
    depth = np.empty((rows * n, columns * n), np.float32)
    owner = np.empty((rows * n, columns * n), np.int32)
    for tile in range(columns * rows):
        part_depth, part_owner = np.empty((n, n), np.float32), np.empty((n, n), np.int32)
        x, y = tile % columns, tile // columns
        listed = items[starts[tile] : starts[tile + 1]]
        step = 1.0 / samples
        cast(shapes, lens, listed, x * TILE, y * TILE, step, part_depth, part_owner)
        depth[y * n : (y + 1) * n, x * n : (x + 1) * n] = part_depth
        owner[y * n : (y + 1) * n, x * n : (x + 1) * n] = part_owner
    return depth[: lens.height * samples, : lens.width * samples], owner[
        : lens.height * samples, : lens.width * samples
    ]


def random_shapes(seed, m=25, k=15):
    rng = np.random.default_rng(seed)
    spheres = np.column_stack([rng.uniform(-1.2, 1.2, (m, 2)), rng.uniform(3, 6, m)])
    spheres = np.column_stack([spheres, rng.uniform(0.02, 0.3, m)])
    first = np.column_stack([rng.uniform(-1, 1, (k, 2)), rng.uniform(3, 6, k)])
    last = first + rng.normal(0, 0.4, (k, 3))
    return make_shapes(spheres, np.column_stack([first, last, rng.uniform(0.01, 0.1, k)]))


@pytest.mark.parametrize("seed", range(4))
def test_samples_see_the_same_as_rays_against_all_shapes(seed):
    shapes = random_shapes(seed)
    depth, owner = cast_picture(shapes)
    want_depth, want_owner = naive.cast_all(shapes.spheres, shapes.cylinders, LENS, 2)
    same = owner == want_owner
    # rounding may decide a ray that grazes an edge; nothing else may differ
    assert (~same).mean() < 2e-4
    hit = same & (owner >= 0)
    assert hit.sum() > 500
    # depths are kept in float32: 6e-8 relative of 6 nm, times the few operations
    np.testing.assert_allclose(depth[hit], want_depth[hit], rtol=1e-6)
    assert np.isinf(depth[owner < 0]).all()


def test_a_sphere_before_the_eye_has_the_silhouette_of_its_tangent_cone():
    radius, distance = 0.4, 4.0
    lens = Lens(600.0, 128.0, 128.0, 256, 256)
    shapes = make_shapes([[0, 0, distance, radius]], [], lens)
    depth, owner = cast_picture(shapes, lens)
    tangent = 600.0 * radius / np.sqrt(distance**2 - radius**2)
    # 2 x 2 samples count the disc's area to about a sample along the rim
    assert np.sqrt((owner == 0).sum() / 4 / np.pi) == pytest.approx(tangent, rel=2e-3)
    assert depth.min() == pytest.approx(distance - radius, rel=1e-5)
    left, top, right, bottom = shapes.bounds[0]
    want = [128 - tangent, 128 - tangent, 128 + tangent, 128 + tangent]
    np.testing.assert_allclose([left, top, right, bottom], want, rtol=1e-12)


def test_the_nearer_sphere_hides_the_farther_in_either_order():
    near, far = [0, 0, 3.0, 0.2], [0, 0, 5.0, 0.2]
    for spheres, front in (([near, far], 0), ([far, near], 1)):
        _, owner = cast_picture(make_shapes(spheres, []))
        assert set(np.unique(owner)) == {-1, front}


def test_bounds_hold_every_hit_of_an_off_centre_sphere_close_to_the_eye():
    lens = Lens(60.0, 48.0, 60.0, 128, 96)
    shapes = make_shapes([[0.5, -0.4, 1.0, 0.35]], [], lens)
    depth, _ = naive.cast_all(shapes.spheres, shapes.cylinders, lens, 1)
    rows, columns = np.nonzero(np.isfinite(depth))
    left, top, right, bottom = shapes.bounds[0]
    assert columns.min() + 0.5 >= left
    assert columns.max() + 0.5 <= right
    assert rows.min() + 0.5 >= top
    assert rows.max() + 0.5 <= bottom
    # and they are no wider than a pixel more
    assert columns.min() - left < 1.0
    assert right - columns.max() < 2.0


def test_shapes_outside_the_picture_are_in_no_bin():
    shapes = make_shapes([[9, 0, 3, 0.1], [0, -9, 3, 0.1], [0, 0, 3, 0.1]], [])
    starts, items = bin_shapes(shapes.bounds, 3, 3, 1)
    assert starts[-1] == len(items)
    assert set(items) == {2}
