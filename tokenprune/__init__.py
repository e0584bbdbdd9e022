"""May I throw these tokens away, and does the theory hold for my depth?"""

__version__ = "0.1.0"
