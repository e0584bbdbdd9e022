from tokenprune.drawing.numbers import *  # noqa: F403
