"""How figures, tables and numbers look; what they show is decided elsewhere."""
