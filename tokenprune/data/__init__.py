from tokenprune.data.imageset import Dataset, ImageSet, relevance

__all__ = ["Dataset", "ImageSet", "relevance"]
