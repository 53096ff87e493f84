"""A study of two short scenes and small films, but for its inputs."""

SMALL = """[simulation]
steps = 40
frame_every = 10
energy_every = 5
checkpoint_every = 20
nonbonded = {electrostatics = "rf"}
[[scenes]]
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
