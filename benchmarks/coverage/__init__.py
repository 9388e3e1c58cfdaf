"""How often what the ablation's report says is right, by simulation of the code that says it.

A module a subject, each with a TITLE, a NOTE on what its figures are, and `simulate(num, rng)`,
which yields its rows. A new subject is a new module, named in `SUBJECTS` of `__main__`.
"""
