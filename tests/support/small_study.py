"""Parts of studies of two short scenes and small films."""

SCENES = """[[scenes]]
name = "nvt"
ensemble = "nvt"
[[scenes]]
name = "nve"
ensemble = "nve"
[render]
width = 160
height = 120
frames = 3
samples = 1
"""
SMALL = f"""[simulation]
steps = 40
frame_every = 10
energy_every = 5
checkpoint_every = 20
nonbonded = {{electrostatics = "rf"}}
{SCENES}"""
"""All but the inputs."""
