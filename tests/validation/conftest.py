"""The small study of the drills."""

import pytest

STUDY = """
name = "drill"
[[inputs]]
path = "{inputs}"
temperature_K = 298
[simulation]
steps = 60
equilibration_steps = 20
frame_every = 20
energy_every = 5
checkpoint_every = 20
nonbonded = {{electrostatics = "rf"}}
[[scenes]]
name = "npt"
ensemble = "npt"
[render]
width = 96
height = 64
frames = 3
samples = 1
{more}
"""


@pytest.fixture(scope="session")
def small_study():
    """Return a function that writes a study of seconds: one scene of each input's group, a film.

    `more` goes on in `[render]`.
    """

    def write(path, inputs, more=""):
        path.write_text(STUDY.format(inputs=inputs, more=more))
        return path

    return write
