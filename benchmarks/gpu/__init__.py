"""Whether the product is right on a GPU, and how fast: what no test on a CPU can tell.

A check is a function of the `Bench`, named in `CHECKS` of `__main__`: it returns its numbers,
raises `Skip` where it cannot be made here, anything else where the product is wrong. What is
checked of losses, optimizers, networks and the like comes from their unions: a new member needs no
entry.
"""
