"""Records of a sweep whose settings were run on the same clips, for everything that compares them."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

SOLVERS = ("euler", "midpoint", "abm2")


def paired(folder: Path, **of_run: Any) -> Path:
    """Writes records of three solvers on 4 recordings × 2 portraits × 2 seeds: later ones have lips that move better.

    `flicker` is the same but for noise. `of_run`: more entries of each record.
    """
    random = np.random.default_rng(0)
    clips = list(itertools.product(range(4), range(2), (15, 16)))
    base = random.normal(0.5, 0.1, len(clips))
    for number, solver in enumerate(SOLVERS):
        made = [
            {
                "id": f"p{portrait}-r{recording}-seed{seed}",
                "base_id": f"p{portrait}-r{recording}",
                "seed": seed,
                "image_sha256": f"i{portrait}",
                "audio_sha256": f"a{recording}",
                "video": f"videos/p{portrait}-r{recording}-seed{seed}.mp4",
                "num_frames": 50,
                "metrics": {
                    "lip_correlation": base[place] + 0.05 * number + random.normal(0, 0.01),
                    "flicker": 2 + random.normal(0, 0.1),
                },
                "absent": {"psnr_db": "needs a reference video"},
            }
            for place, (recording, portrait, seed) in enumerate(clips)
        ]
        run = folder / str(number)
        run.mkdir(parents=True)
        totals = {"clips": len(made), "frames": 50 * len(made)}
        record = {"overrides": [f"solver={solver}"], "seeds": [15, 16], "clips": made, "totals": totals, **of_run}
        (run / "record.json").write_text(json.dumps(record))
    return folder
