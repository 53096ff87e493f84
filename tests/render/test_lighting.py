"""Shadow and ambient occlusion from depth maps, against rays and against what must be."""

import numpy as np
import pytest

from mdpipe.render import naive
from mdpipe.render.lighting import axis_bases, depth_maps, sky_light, spread_axes, sun_light


def see_sky(spheres, points, normals, texel=0.01, axes=32):
    directions = spread_axes(axes)
    weights = np.stack([1.0 - 0.3 * directions[:, 2], 1.0 + 0.3 * directions[:, 2]], axis=1)
    maps = depth_maps(np.asarray(spheres, float), axis_bases(directions), 1.5, texel, weights)
    light = np.empty(len(points), np.float32)
    places = np.ascontiguousarray((points + 2 * texel * normals).T, np.float32)
    sky_light(
        places,
        np.ascontiguousarray(normals.T, np.float32),
        len(points),
        texel,
        2 * texel,
        maps,
        light,
    )
    both = np.concatenate([directions, -directions])
    want = naive.open_sky(
        points + 2 * texel * normals,
        normals,
        np.asarray(spheres, float),
        both,
        np.concatenate([weights[:, 1], weights[:, 0]]),
    )
    return light, want


def surface_points(spheres, count, seed):
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    chosen = spheres[rng.integers(len(spheres), size=count)]
    points = chosen[:, :3] + chosen[:, 3:] * normals
    apart = np.linalg.norm(points[:, None] - spheres[None, :, :3], axis=2) - spheres[:, 3]
    seen = (apart > -1e-9).all(axis=1)  # those inside another sphere are on no surface
    return points[seen], normals[seen]


def test_axes_are_unit_vectors_that_cover_the_half_sphere_evenly():
    axes = spread_axes(64)
    np.testing.assert_allclose(np.linalg.norm(axes, axis=1), 1.0, rtol=1e-12)
    # the second moment of an even cover is a third of the identity; 64 points reach it to 1 %
    np.testing.assert_allclose(axes.T @ axes / 64, np.eye(3) / 3, atol=0.01)
    bases = axis_bases(axes)
    np.testing.assert_allclose(
        bases @ bases.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (64, 3, 3)), atol=1e-12
    )


def test_open_sky_agrees_with_rays_against_all_spheres():
    rng = np.random.default_rng(5)
    spheres = np.column_stack([rng.uniform(-0.7, 0.7, (40, 3)), rng.uniform(0.1, 0.25, 40)])
    points, normals = surface_points(spheres, 300, 6)
    light, want = see_sky(spheres, points, normals)
    # one of some 32 directions may fall on the other side of an edge of a map of 0.01 nm texels
    assert np.abs(light - want).mean() < 0.03
    assert np.corrcoef(light, want)[0, 1] > 0.98


def test_a_free_sphere_sees_all_of_its_sky_and_a_crevice_little():
    spheres = np.array([[0, 0, 0, 0.3], [0.62, 0, 0, 0.3], [0.31, 0.0, -0.5, 0.3]])
    top, crevice = np.array([0.0, 0.0, 1.0]), np.array([0.95, 0.0, -0.31])
    crevice /= np.linalg.norm(crevice)
    normals = np.stack([top, crevice])
    light, _ = see_sky(spheres, 0.3 * normals, normals)
    assert light[0] > 0.95
    assert light[1] < 0.45


def test_without_maps_the_sky_is_open():
    maps = depth_maps(
        np.array([[0.0, 0.0, 0.5, 0.1]]), np.empty((0, 3, 3)), 1.5, 0.01, np.empty((0, 2))
    )
    light = np.zeros(1, np.float32)
    sky_light(
        np.zeros((3, 1), np.float32), np.eye(3, 1, dtype=np.float32), 1, 0.01, 0.02, maps, light
    )
    assert light[0] == 1.0


def test_a_sphere_throws_its_shadow_along_the_light_and_nowhere_else():
    axis = np.array([[0.48, 0.0, 0.8773824]])
    axis /= np.linalg.norm(axis)
    blocker = np.array([[0.0, 0.0, 0.5, 0.2]])
    maps = depth_maps(blocker, axis_bases(axis), 1.5, 0.005, np.ones((1, 2)))
    behind = blocker[0, :3] - 0.8 * axis[0]
    before = blocker[0, :3] + 0.8 * axis[0]
    side = np.array([0.0, 1.0, 0.0])
    assert sun_light(*behind, 0.01, maps) == 0.0
    assert sun_light(*before, 0.01, maps) == 1.0
    assert sun_light(*(behind + 0.19 * side), 0.01, maps) == 0.0
    assert sun_light(*(behind + 0.22 * side), 0.01, maps) == 1.0
    # the penumbra is the filter's three texels
    edge = [sun_light(*(behind + r * side), 0.01, maps) for r in np.linspace(0.18, 0.22, 41)]
    assert (np.diff(edge) > -1e-9).all()
    assert sum(0.0 < e < 1.0 for e in edge) in range(5, 25)


def test_maps_hold_the_lowest_and_highest_surface():
    maps = depth_maps(
        np.array([[0.0, 0.0, 0.3, 0.2], [0.0, 0.0, -0.4, 0.1]]),
        axis_bases(np.array([[0.0, 0.0, 1.0]])),
        1.0,
        0.02,
        np.ones((1, 2)),
    )
    middle = maps.surfaces.shape[2] // 2
    # the texel's centre is off the axis by half a texel
    assert maps.surfaces[1, 0, middle, middle] == pytest.approx(0.5, abs=2e-3)
    assert maps.surfaces[0, 0, middle, middle] == pytest.approx(-0.5, abs=2e-3)
    assert maps.surfaces[1, 0, 0, 0] < -1e8
