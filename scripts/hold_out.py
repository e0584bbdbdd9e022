"""5,000 of CIFAR-10's training images, 500 a class, as the test images of a data set of its own; no test image is read.

.venv/bin/python scripts/hold_out.py cifar10.npz validation.npz
"""

import sys

import numpy as np

with np.load(sys.argv[1]) as arrays:
    images, labels, names = arrays["train_images"], arrays["train_labels"], arrays["classes"]
order = np.random.default_rng(0).permutation(len(labels))
ranks = np.empty(len(labels), int)
for label in range(len(names)):
    own = order[labels[order] == label]
    ranks[own] = np.arange(len(own))
held = ranks < 500
np.savez(
    sys.argv[2],
    train_images=images[~held],
    train_labels=labels[~held],
    test_images=images[held],
    test_labels=labels[held],
    classes=names,
)
