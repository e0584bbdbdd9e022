"""Claims about content and position: findings from the runs' test accuracy, and from their position codes."""

from collections.abc import Sequence

from tokenprune.claims.claim import Finding
from tokenprune.claims.measured import select
from tokenprune.claims.readings import contrast, whole
from tokenprune.claims.study import Group, TrainedStudy, alike
from tokenprune.claims.training import finding, less
from tokenprune.runs import MeasureResult

ASSOCIATION = "association"

_ATTENTION, _SHUFFLE = "model.attention", "data.shuffle"
_KINDS = ("content", "positional")


def attention_of(study: TrainedStudy) -> str:
    return str(study.science.get(_ATTENTION, "content"))


def kind_of(study: TrainedStudy) -> str:
    """What mixes its patches: attention to content, positional or local, or convolutions."""
    return "convolution" if study.science.get("model.stages") else attention_of(study)


def tiles_of(study: TrainedStudy) -> int | None:
    """Tiles a side that are moved; None where images are as they are."""
    found = study.science.get(_SHUFFLE)
    return None if found is None else int(found)


def positional_against_content(found: Sequence[TrainedStudy]) -> list[Finding]:
    """Accuracy of models with positional attention less that with attention to content."""
    findings = []
    what = "accuracy with positional attention less that with attention to content"
    for group in by_attention(found):
        if not any(kind_of(each) in _KINDS for each in group.settings):
            continue
        for tiles in sorted({tiles_of(each) for each in group.settings}, key=lambda each: each or 0):
            same = [each for each in group.settings if tiles_of(each) == tiles]
            content, positional = ([each for each in same if kind_of(each) == kind] for kind in _KINDS)
            words = None if tiles is None else f"{tiles} x {tiles} tiles moved"
            if content and positional:
                findings.append(less(group, [(positional[0], content[0])], (content[0], positional[0]), what, words))
            else:
                other = _KINDS[not positional]
                missing = [(same[0], (f"{_ATTENTION}={other}",))]
                findings.append(finding(group, same, {}, "", f"no run has {other} attention", missing, words))
    return findings


def shuffled_against_whole(found: Sequence[TrainedStudy], kinds: Sequence[str] = _KINDS) -> list[Finding]:
    """Accuracy on images whose tiles are moved less that on images as they are, for each number of tiles."""
    findings = []
    for group in by_attention(found):
        for kind in kinds:
            same = [each for each in group.settings if kind_of(each) == kind]
            whole = [each for each in same if tiles_of(each) is None]
            moved = sorted((each for each in same if tiles_of(each)), key=lambda each: tiles_of(each) or 0)
            for study in moved:
                tiles = tiles_of(study)
                words = f"{kind if kind == 'convolution' else kind + ' attention'}, {tiles} x {tiles} tiles moved"
                what = f"accuracy on images with {tiles} x {tiles} tiles moved less that on images as they are"
                if whole:
                    findings.append(less(group, [(study, whole[0])], (whole[0], study), what, words))
                else:
                    missing = [(study, (f"{_SHUFFLE}=null",))]
                    findings.append(finding(group, [study], {}, "", "no run is of images as they are", missing, words))
    return findings


def association(found: Sequence[TrainedStudy]) -> list[Finding]:
    """Share of a patch's neighbours among the patches whose codes are most like its own, less that by chance."""
    what = "share of a patch's neighbours among those of the most similar position codes, less that of random codes"
    return [contrast(ASSOCIATION, [(study, 1)], above_chance, what) for study in whole(found, ASSOCIATION)]


def above_chance(result: MeasureResult) -> float:
    """Mean overlap of neighbours with patches of similar codes, less its mean for random codes. Raises Missing."""
    overlap, chance = (select(result, f"mean {name}").number for name in ("overlap", "chance"))
    return overlap - chance


def by_attention(found: Sequence[TrainedStudy]) -> list[Group]:
    """Settings without a pruner that differ in what attention is made of, and in tiles; none of a single one."""
    plain = [setting for setting in found if setting.method == "none" and setting.science]
    groups = [sorted(group, key=_order) for group in alike(plain, [_ATTENTION, _SHUFFLE])]
    return [Group(None, "", tuple(group)) for group in groups if len(group) > 1]


def _order(study: TrainedStudy) -> tuple[str, int]:
    return kind_of(study), tiles_of(study) or 0
