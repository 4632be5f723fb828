"""The paper's comparison on any catalogue: individual networks, one multi-label network, the progressive tree.

An arm is one way to answer every attribute. All arms are trained on the same images, labels and budget, chosen and
calibrated on validation alone, and scored on test by the same code.

    from attributree.comparison.run import compare
    compare(catalog, settings, plugins, seeds=(0, 1, 2)).to_json()
"""

from typing import Final

INDIVIDUAL: Final = "individual"
MULTILABEL: Final = "multilabel"
PROGRESSIVE: Final = "progressive"
FINETUNED: Final = "progressive_finetuned"
#: The arms, in the order of tables.
ARMS: Final = (INDIVIDUAL, MULTILABEL, PROGRESSIVE, FINETUNED)
