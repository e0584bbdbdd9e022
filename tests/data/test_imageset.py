import pytest
import reference_data
import torch

from tokenprune.data import ImageSet, relevance


@pytest.mark.parametrize("patch_size", [1, 3, 4, 12])
def test_relevance_is_the_counted_share_of_marked_pixels(patch_size):
    mask = (torch.rand(5, 12, 12, generator=torch.Generator().manual_seed(0)) < 0.4).to(torch.uint8)
    expected = torch.tensor(reference_data.relevance(mask.numpy(), patch_size))
    assert torch.equal(relevance(mask, patch_size), expected)


def test_patches_must_tile_the_image():
    with pytest.raises(ValueError, match="side 5 do not tile an image of 12 x 12"):
        relevance(torch.zeros(1, 12, 12, dtype=torch.uint8), 5)


def test_take_keeps_an_images_mask_and_group_with_it():
    whole = ImageSet(
        torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 3, 2, 2),
        torch.arange(4),
        torch.arange(4, dtype=torch.uint8).view(4, 1, 1).expand(4, 2, 2),
        torch.arange(4),
    )
    part = whole.take(torch.tensor([2, 0]))
    assert part.images[:, 0, 0, 0].tolist() == part.labels.tolist() == [2, 0]
    assert part.mask[:, 0, 0].tolist() == part.groups.tolist() == [2, 0]
