from tokenprune.data.batches import Batch, steps_per_epoch, test_batches, test_batches_at, train_batches
from tokenprune.data.decode import picture
from tokenprune.data.imageset import Dataset, ImageSet, relevance, shuffled
from tokenprune.data.sources import download, folder, load, provenance, read
