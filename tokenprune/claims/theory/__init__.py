"""Claims of Li et al. (ICLR 2023) about sample complexity, attention and time, and what the laboratory says of them."""
