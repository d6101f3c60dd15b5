"""What names are made of: the words that say that a value is another one in a new form."""

from __future__ import annotations

import re

_ALIKE = {
    alike: word
    for word, others in {
        "idx": "index indices inds ind idxs indexes",
        "img": "image images imgs",
        "pred": "prediction predictions preds predicted",
        "target": "targets tgt",
        "output": "outputs out",
        "input": "inputs inp",
        "embedding": "embeddings embeds embed emb embs",
        "feature": "features feat feats",
        "weight": "weights",
        "label": "labels",
        "mask": "masks",
        "batch": "batches",
    }.items()
    for alike in others.split()
}
_CHANGED = re.compile(
    r"^(\d+|new|norm|normed|normali[sz]ed|(re)?scaled|clipped|clamped|masked|padded|weighted|smooth(ed)?|noisy|final|"
    r"augmented|adjusted|updated|cat|concat|combined|modified|fixed|shifted|filtered|corrected)$"
)


def words_of(name: str) -> list[str]:
    """Split a name into its words, each in its shortest usual form.

    >>> words_of("binned_indices"), words_of("population2")
    (['binned', 'idx'], ['population', '2'])
    """
    return [_ALIKE.get(one, one) for one in re.split(r"_|(?<=[a-z])(?=\d)", name.lower()) if one]


def says_changed(name: str, source: str) -> bool:
    """Say whether a name is another's with a word that says that it was changed, or the same in other words.

    >>> says_changed("population2", "population"), says_changed("x_mean", "x")
    (True, False)
    """
    own, other = set(words_of(name)), set(words_of(source))
    return len(source) > 1 and (own == other or (other < own and all(_CHANGED.match(one) for one in own - other)))
