"""The usual way to write it: a timm model as built, fp32, a DataLoader with torchvision transforms."""

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from timm.models import VisionTransformer
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import transforms

from tokenprune.data import Dataset


class _Images(TorchDataset[tuple[Tensor, int]]):
    """The shape of torchvision.datasets.CIFAR10: an array of images, a PIL image a look-up, a transform."""

    def __init__(self, dataset: Dataset) -> None:
        self.pixels = dataset.train.images.permute(0, 2, 3, 1).cpu().numpy()
        self.labels = dataset.train.labels.cpu().numpy()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(self.pixels.shape[1], padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(dataset.mean, dataset.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(np.asarray(self.pixels[index]))), int(self.labels[index])


def batches(dataset: Dataset, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    yield from DataLoader(_Images(dataset), batch_size, shuffle=True, drop_last=True)


class Loop:
    """Model, AdamW, cross-entropy; as built, fp32."""

    def __init__(self, vit: VisionTransformer, device: torch.device) -> None:
        self.vit = vit.to(device).train()
        self.device = device
        self.optimizer = torch.optim.AdamW(self.vit.parameters(), lr=1e-3, weight_decay=0.05)

    def step(self, images: Tensor, labels: Tensor) -> None:
        loss = F.cross_entropy(self.vit(images.to(self.device)), labels.to(self.device))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        loss.item()  # as progress bars do

    def epoch(self, dataset: Dataset, batch_size: int) -> None:
        for images, labels in batches(dataset, batch_size):
            self.step(images, labels)
