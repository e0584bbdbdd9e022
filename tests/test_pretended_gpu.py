"""The program on a GPU that is not there: no two devices meet, and nothing waits for the GPU where steps are made."""

from collections.abc import Iterator

import pytest
import torch
from pretended import Pretended, pretended

from tokenprune import hardware, pruners
from tokenprune.data import Batch, Dataset, train_batches
from tokenprune.data import test_batches as whole_batches
from tokenprune.data.imageset import ImageSet
from tokenprune.errors import TokenpruneError
from tokenprune.evaluation import CurvePlan, prune_curves
from tokenprune.evaluation.timing import Clock, Watch
from tokenprune.measurements import latency
from tokenprune.measurements.subject import Subject
from tokenprune.models import BatchInfo, SparseViT, build
from tokenprune.recipe import Augment, Model, Recipe, Schedule
from tokenprune.theory.network import PatchCNN, ShallowViT
from tokenprune.theory.plan import finite
from tokenprune.training import observe
from tokenprune.training.loop import Job, Learner

CLASSES = ("a", "b", "c")
EVERYTHING = Augment(crop=2, flip=True, cutout=4, randaugment_ops=2, mixup=0.2, cutmix=1.0)


@pytest.fixture(params=[True, False], ids=["cuda", "without-float64"])
def gpu(request: pytest.FixtureRequest) -> Iterator[Pretended]:
    with pretended(request.param) as found, pytest.MonkeyPatch.context() as patch:
        if not request.param:
            patch.setattr(hardware, "widest", lambda device: torch.float32)
        yield found


def dataset(count: int = 12) -> Dataset:
    labels = torch.arange(count) % len(CLASSES)
    relevant = torch.zeros(count, 16, 16, dtype=torch.uint8)
    images = ImageSet(torch.zeros(count, 3, 16, 16, dtype=torch.uint8), labels, relevant)
    return Dataset(images, images, CLASSES, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def model(gpu: Pretended, pruner: str | None = None, site: str = "before:0") -> SparseViT:
    vit = build(Model(depth=2, dim=12, heads=3, patch_size=4), len(CLASSES), 16)
    made = SparseViT(vit, pruners.create(pruner) if pruner else None, Schedule.parse(site), 0.5)
    return made.to(gpu.device)


def batch(gpu: Pretended) -> Batch:
    (found,) = whole_batches(dataset().to(gpu.device), 12, 4)
    return found


def test_tensors_of_two_devices_are_found(gpu: Pretended) -> None:
    """The pretence itself: what a real GPU refuses is refused."""
    on, off = torch.zeros(3, 2, device=gpu.device), torch.zeros(3, 2)
    for mixed in (lambda: on + off, lambda: on.gather(0, off.long()), lambda: torch.cat([on, off])):
        with pytest.raises(RuntimeError, match="same device"):
            mixed()
    assert (on + off.to(gpu.device)).device.type == "cuda"
    if not gpu.doubles:
        with pytest.raises(TypeError, match="float64"):
            on.double()
    assert gpu.reads == []
    assert on.sum().item() == 0
    assert gpu.reads == ["item"]


@pytest.mark.parametrize("augment", [Augment(crop=4, flip=True, cutout=8), EVERYTHING], ids=["plain", "everything"])
def test_augmentation(gpu: Pretended, augment: Augment) -> None:
    for found in train_batches(dataset().to(gpu.device), augment, 6, 4, 0, 0):
        for part in (found.images, found.labels, found.relevance, found.index, found.other, found.weight):
            assert part is None or part.device.type == "cuda"
    assert gpu.reads == []


@pytest.mark.parametrize("room", [0, 12 * 3 * 16**2, 12 * 4 * 16**2 * 2])
def test_images_that_do_not_fit_stay_where_they_are_and_their_batches_come(gpu: Pretended, room: int) -> None:
    """Nothing waits for the GPU where their places are drawn; room for all of them moves all of them."""
    found = dataset().to(gpu.device, room)
    lie = "cuda" if room == 12 * 4 * 16**2 * 2 else "cpu"
    for part in (found.train, found.test):
        assert (part.images.device.type, part.mask.device.type, part.labels.device.type) == (lie, lie, "cuda")
        assert part.relevance(4).device.type == "cuda"
    assert found.to(gpu.device) is found
    for batch in (*train_batches(found, EVERYTHING, 6, 4, 0, 0), *whole_batches(found, 5, 4)):
        for tensor in (batch.images, batch.labels, batch.relevance, batch.index, batch.other, batch.weight):
            assert tensor is None or tensor.device.type == "cuda"
    assert gpu.reads == []


@pytest.mark.parametrize("site", ["input", "before:0,1", "after:0"])
@pytest.mark.parametrize("pruner", sorted(pruners.BUILT_IN))
def test_every_pruner_at_every_kind_of_site(gpu: Pretended, pruner: str, site: str) -> None:
    images = batch(gpu)
    trace = model(gpu, pruner, site).run(images.images, 0.5, BatchInfo(images.relevance, images.labels, images.index))
    assert trace.logits.device.type == "cuda"
    assert set(gpu.reads) == ({"cpu"} if pruner == "atc" else set())  # whose clustering is scipy's


@pytest.mark.parametrize("site", ["input", "before:1"])
def test_evaluation(gpu: Pretended, site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "device_name", lambda device: device.type)
    monkeypatch.setattr("tokenprune.evaluation.curves.to_curve", lambda *_: None)
    monkeypatch.setattr(Clock, "_now", lambda _: 0.0)
    methods = tuple((name, {}) for name in pruners.BUILT_IN)
    plan = CurvePlan(methods, (1.0, 0.5), Schedule.parse(site), seeds=2, batch_size=5, examples=2)
    vit = model(gpu).vit
    assert len(prune_curves(vit, dataset(), plan, run="r", seed=0, device=gpu.device)) == len(methods)


def test_latency(gpu: Pretended, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watch, "seconds_of", lambda _, run: (run(), 1e-3)[1])
    subject = Subject(
        model=model(gpu).eval(),
        dataset=dataset().to(gpu.device),
        device=gpu.device,
        precision="fp32",
        recipe=Recipe(),
        curves=(),
        fill=lambda *_: None,
    )
    found = latency.measure_run(subject, methods="all", keep=0.5, batch=[1, 4], repeats=1)
    assert len(found["median"].values) == 1 + len(pruners.registry.untrained_pruners())
    assert subject.notes == []


def test_observation(gpu: Pretended) -> None:
    images = whole_batches(dataset().to(gpu.device), 5, 4)
    observe.score(model(gpu, "magnitude"), images, 0.5, 0)
    observe.attention_on_relevant(model(gpu), whole_batches(dataset().to(gpu.device), 5, 4))


def on(gpu: Pretended, *shapes: tuple[int, ...]) -> list[torch.Tensor]:
    return [torch.zeros(shape, device=gpu.device) for shape in shapes]


def test_a_step_of_the_laboratory(gpu: Pretended) -> None:
    x, y, position = torch.zeros(2, 3, 4, 5), torch.ones(2, 3), torch.zeros(2, 3, 5, dtype=torch.long)
    x, y, position = x.to(gpu.device), y.to(gpu.device), position.to(gpu.device)
    vit = ShallowViT(*on(gpu, (2, 6, 4), (2, 4, 4), (2, 4, 4), (2, 4, 4), (2, 6, 5)))
    cnn = PatchCNN(*on(gpu, (2, 6, 4), (2, 6, 5)))
    for network in (vit, cnn):
        assert network.step(x, y, 0.1).device.type == "cuda"
        assert network.step(x, y, 0.1, position).device.type == "cuda"
        finite(network.margins(x))


@pytest.mark.parametrize("mixed", [False, True])
def test_a_training_step_waits_for_nothing(gpu: Pretended, mixed: bool) -> None:
    """But for what it looks at now and then. Without a moving average: no pretended model can be copied."""
    changes = {"augment": EVERYTHING} if mixed else {}
    recipe = Recipe.model_validate({"train": {"batch_size": 6, "precision": "fp32", **changes}})
    job = Job(recipe, model(gpu, "magnitude"), dataset().to(gpu.device), gpu.device, "fp32", None)
    learner = Learner(job, 2)
    gpu.reads.clear()
    for found in train_batches(job.dataset, recipe.train.augment, 6, 4, 0, 0):
        learner.step(found, 0.5)
    assert gpu.reads == []


def test_an_apple_gpu_is_asked_for_by_name_and_computes_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(TokenpruneError, match="device mps: torch sees no Apple GPU here"):
        hardware.choose_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    device = hardware.choose_device("mps")
    assert (device.type, hardware.choose_precision("auto", device), hardware.device_name(device)) == (
        "mps",
        "fp32",
        "mps",
    )
    assert hardware.widest(device) == torch.float32
    with pytest.raises(TokenpruneError, match="on device mps only fp32"):
        hardware.choose_precision("bf16", device)
