from tokenprune.drawing.style import *  # noqa: F403
