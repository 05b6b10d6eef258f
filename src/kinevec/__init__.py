"""kinevec: video embeddings that encode how things move, learned from unlabelled video.

```
from kinevec.tasks import evaluate, pretrain, synth

synth("videos")                            # make procedural motion videos
pretrain("moco", "videos", "runs/a")       # train without labels
evaluate("runs/a", "videos").scores        # judge
```
"""
