"""Is it motion or background? The same frozen encoder scored on videos of which one thing at a time was changed."""

from kinevec.evaluate.audit.collect import Example
from kinevec.evaluate.audit.figures import Estimate
from kinevec.evaluate.audit.masks import EstimatedMasks, Masks, open_masks
from kinevec.evaluate.audit.result import Audit
from kinevec.evaluate.audit.run import audit
from kinevec.evaluate.audit.settings import AuditConfig

__all__ = [
    "Audit",
    "AuditConfig",
    "Estimate",
    "EstimatedMasks",
    "Example",
    "Masks",
    "audit",
    "open_masks",
]
