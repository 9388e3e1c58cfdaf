"""Names: what those of folders, files and table cells say of splits and labels."""

import os
import re
from dataclasses import dataclass

WORDS = {
    **dict.fromkeys(("train", "training", "trn", "trainval", "trainvalid"), "train"),
    **dict.fromkeys(
        ("valid", "validation", "validate", "val", "dev", "devel", "development"), "valid"
    ),
    **dict.fromkeys(("test", "testing", "tst", "evaluation", "eval", "holdout"), "test"),
    **dict.fromkeys(("pred", "predict", "prediction", "predictions"), "pred"),
}
WIDE = {
    "训练": "train",
    "訓練": "train",
    "验证": "valid",
    "驗證": "valid",
    "测试": "test",
    "測試": "test",
    "预测": "pred",
}


def words(text: str) -> tuple[str, ...]:
    """The words of a list that is written as one text."""
    return tuple(text.split())


# Words that say nothing of what is on a picture, alone or beside others.
THINGS = frozenset(
    words(
        "set sets data dataset datasets folder folders dir image images img imgs picture pictures "
        "pic pics photo photos file files jpg jpeg jpgs png pngs split splits part parts sample "
        "samples archive 集 数据 数据集 图片 图像 样本 fold folds kfold cv batch batches "
        "chunk chunks shard shards subset subsets partition partitions"
    )
)
FILLERS = THINGS | set(
    words(
        "the my new raw all full final original orig resized cropped small large aug augmented "
        "kaggle"
    )
)
ASIDE = frozenset(
    words(
        "annotation annotations label labels mask masks trimap trimaps segmentation segmentations "
        "bbox bboxes gt json xml superpixels"
    )
)
MASK = re.compile(
    rf"(.+?)[\s._-]+(?:{'|'.join(sorted(ASIDE))})(?:[\s._-]?\d+)?", re.IGNORECASE | re.DOTALL
)
# A number alone; a label before its number; a number before a label.
NAME = re.compile(
    r"\d+|(?P<first>.+?)(?:[\s._-]+\(?\d+\)?|(?<=[^\W\d_])\(?\d+\)?)|\d+[\s._-]+(?P<last>[^\d].*)",
    re.DOTALL,
)


@dataclass(frozen=True)
class SplitName:
    """`word`: train, valid, test or pred (to be predicted); `rest`: what else the name says,
    without fillers and numbers.
    """

    word: str
    rest: tuple[str, ...] = ()


def split_of(name: str) -> SplitName | None:
    """The split that a name is of, in any usual spelling: `Train`, `seg_train`, `test1`,
    `TrainingSet`, `val2017`.

    None where it says none, or several (`train_test_split`); training with validation is training.
    """
    found, rest = set[str](), []
    for token in tokens(name):
        word = _word(token)
        if word:
            found.add(word)
        elif token not in FILLERS:
            rest.append(token)
    if found == {"train", "valid"}:
        found = {"train"}
    return SplitName(found.pop(), tuple(rest)) if len(found) == 1 else None


def tokens(name: str) -> list[str]:
    """The words of a name in small letters: parted by all that is no letter, and where small
    letters turn to capitals.
    """
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.findall(r"[^\W\d_]+", parted.casefold())


def says_nothing(name: str) -> bool:
    """Whether a folder's name can hardly be a class: `images`, `annotations`, `Data 2`."""
    found = tokens(name)
    return any(token in THINGS | ASIDE for token in found) and all(
        token in FILLERS | ASIDE for token in found
    )


def is_aside(name: str) -> bool:
    """Whether a folder's name is that of something beside the pictures: `annotations`,
    `masks_png`.
    """
    return says_nothing(name) and any(token in ASIDE for token in tokens(name))


def masked(file: str) -> str | None:
    """The name, without ending, of the picture that a file named like a mask is beside: `cat (1)`
    for `cat (1)_mask.png`.
    """
    match = MASK.fullmatch(os.path.splitext(file)[0])
    return match[1] if match else None


def glued(name: str) -> tuple[str, str] | None:
    """The split and the rest of a name that begins with a word of a split and goes on without a
    break: `traincats`.
    """
    for word, split in WORDS.items():
        if name.casefold().startswith(word) and name[len(word) :].isalpha():
            return split, name[len(word) :].casefold()
    return None


def label_of(file: str) -> str | None:
    """The label in a file's name, beside its number: `cat.0.jpg`, `great_pyrenees_12.jpg`, `dog
    (3).png`, `7_owl.jpg`.
    """
    match = NAME.fullmatch(os.path.splitext(file.rpartition("/")[2])[0])
    return match["first"] or match["last"] if match else None


def _word(token: str) -> str:
    if token in WORDS:
        return WORDS[token]
    for word, split in (*WORDS.items(), *WIDE.items()):
        rest = token.removeprefix(word) if token.startswith(word) else token.removesuffix(word)
        if rest != token and (rest in FILLERS or not rest):
            return split
    return ""
