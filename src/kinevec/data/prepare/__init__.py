"""Videos once checked, transcoded, measured and listed, so that training reads them fast."""

from kinevec.data.prepare.plan import PrepareConfig
from kinevec.data.prepare.run import prepare
from kinevec.data.prepare.summary import Summary
from kinevec.data.reasons import KINDS

__all__ = ["KINDS", "PrepareConfig", "Summary", "prepare"]
