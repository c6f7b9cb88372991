"""How far do JPEG 80 and noise 0.1 let one go with a better-resolved threshold, and with immunised training?

Run: python experiments/inversion/immunised.py [ridge | weighted]
"""

import json
import sys
from pathlib import Path

import torch
from run import Files, gan, shifted
from torch.nn.functional import max_pool2d

import morelli
from morelli.attribution.kinds import INVERSIONS
from morelli.detectors.lda import LdaRecipe
from morelli.features.inversion import Inversion
from morelli.numerics.calibration import threshold
from morelli.numerics.metrics import auroc, balanced_accuracy

TARGET, NEGATIVE = "clothing-dcgan", "clothing-lsgan"
UNSEEN = ("clothing-dcgan-b", "clothing-ebgan", "clothing-wgan-gp")
TRAIN = {"ridge": 3000, "weighted": 500}  # own samples, and as many negatives
HELD_OUT, TEST, RATE = 600, 200, 0.005
CONDITIONS = ("png", "jpeg:80", "noise:0.1")
HERE = Path(__file__).parent


def main() -> None:
    chosen = sys.argv[1] if len(sys.argv) > 1 else "ridge"
    train = TRAIN[chosen]
    own = gan(TARGET)
    head = own.head(10_000, 0)
    files = Files(morelli.SampleSpec(head.map.out_shape, -1.0, 1.0))
    inversion = INVERSIONS[chosen](Inversion(head))
    near = shifted(morelli.load_generator(TARGET), (100, 1, 1), 1, 0.3)
    pools = {"own": own.samples(train + HELD_OUT + TEST, 910)}
    pools["other"] = torch.cat([gan(NEGATIVE).samples(train // 2, 911), near.samples(train // 2, 912)])
    pools |= {name: gan(name).samples(TEST, 913) for name in UNSEEN}
    rows = []
    values = {}
    for condition in CONDITIONS:
        for name, pool in pools.items():
            images, facts = files(pool, condition, 1)
            values[name, condition] = inversion.extract(images, facts=facts).values.half()
        for trained_on in dict.fromkeys(("png", condition)):
            for pool in (1, 2):
                used = {key: v for key, v in values.items() if key[1] in (trained_on, condition)}
                at = {key: max_pool2d(v.float(), pool) for key, v in used.items()}
                detector = LdaRecipe().fit(at["own", trained_on][:train], at["other", trained_on], 0)
                mine = detector.score(at["own", condition][train:])
                limit, tested = threshold(mine[:HELD_OUT], RATE), mine[HELD_OUT:]
                row = {"condition": condition, "trained on": trained_on, "pool": pool}
                for name in UNSEEN:
                    theirs = detector.score(at[name, condition])
                    accuracy = balanced_accuracy(tested <= limit, theirs <= limit)
                    row[name] = [round(accuracy, 4), round(auroc(tested, theirs), 4)]
                rows.append(row)
                print(row, flush=True)
    settings = {"inversion": chosen, "train": train, "held_out": HELD_OUT, "test": TEST, "rate": RATE, "seeds": 1}
    run = {"settings": settings, "rows": rows, "morelli": morelli.__version__, "torch": torch.__version__}
    (HERE / f"immunised-{chosen}.json").write_text(json.dumps(run, indent=1) + "\n")


if __name__ == "__main__":
    main()
