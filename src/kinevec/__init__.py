"""kinevec: video embeddings that encode how things move, learned from unlabelled video.

```
from kinevec.tasks import evaluate, pretrain, synth

synth("videos")                            # make procedural motion videos
pretrain("moco", "videos", "runs/a")       # train without labels
evaluate("runs/a", "videos").scores        # judge
```

```
import kinevec

model = kinevec.load("runs/a")             # or an exported folder, a file of weights, org/name on the hub
vectors = model.embed(["a.mp4", "b.mp4"]).vectors
```
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kinevec.exchange.model import Embeddings, Model, load

__all__ = ["Embeddings", "Model", "load"]


def __getattr__(name: str) -> Any:
    """What is offered here is imported when it is asked for, so that `import kinevec` alone costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'kinevec' has no attribute '{name}'")
    from kinevec.exchange import model

    return getattr(model, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
