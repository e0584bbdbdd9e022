"""What network a setting is: a ViT, a CNN, or a CNN some of whose blocks are attention."""

from tokenprune.claims.positional import attention_of
from tokenprune.claims.study import TrainedStudy
from tokenprune.errors import counted


def stages(study: TrainedStudy) -> tuple[int, ...] | None:
    """Blocks in each stage of a convolutional network; None of a ViT."""
    found = study.science.get("model.stages")
    return tuple(found) if found else None


def attentions(study: TrainedStudy) -> int:
    """How many blocks of a convolutional network are attention."""
    return int(study.science.get("model.attentions") or 0)


def has_attention(study: TrainedStudy) -> bool:
    """Whether it is a convolutional network some of whose blocks are attention."""
    return stages(study) is not None and attentions(study) > 0


def is_vit(study: TrainedStudy) -> bool:
    """Whether it is a ViT whose attention is the usual one."""
    return bool(study.science) and stages(study) is None and attention_of(study) == "content"


def is_cnn(study: TrainedStudy) -> bool:
    """Whether it has no attention."""
    return stages(study) is not None and attentions(study) == 0


def kind(study: TrainedStudy) -> str:
    """In a few words: ViT, CNN, CNN with 2 attentions, ViT with 5 x 5 attention."""
    if stages(study) is not None:
        count = attentions(study)
        return "CNN" if not count else f"CNN with {counted(count, 'attention')}"
    attention = attention_of(study)
    if attention == "local" and (kernel := study.science.get("model.kernel")):
        return f"ViT with {kernel} x {kernel} attention"
    return "ViT" if attention == "content" else f"ViT with {attention} attention"
