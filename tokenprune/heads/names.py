"""Names of heads, known without torch."""

#: Heads by name, with what they are.
HEADS = {
    "attention": "self-attention without softmax",
    "mixer": "MLP-mixer: a layer over tokens, then one over channels",
    "fno": "Fourier neural operator: convolutions as wide as the grid",
    "block-fno": "the same in groups of channels",
    "mlp": "a layer over channels, token by token",
    "linear": "a linear classifier of the mean token",
}
#: Kinds: without gates, and with gates that stand for ReLU; ordinary heads beside them.
LINEAR, GATED, TWO_LAYER = "linear", "gated", "two-layer"
#: Solvers, with what they are.
SOLVERS = {"factored": "Burer-Monteiro factors", "fista": "accelerated proximal gradient"}
#: Data sets that a backbone can be shown instead of its own images.
DATA = ("cifar10", "cifar100")
