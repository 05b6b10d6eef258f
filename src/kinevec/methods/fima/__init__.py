"""FIMA: fine-grained motion alignment (arXiv:2309.00297)."""
