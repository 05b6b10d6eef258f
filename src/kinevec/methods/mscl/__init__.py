"""MSCL: Motion Sensitive Contrastive Learning for Self-supervised Video Representation (arXiv:2208.06105)."""
