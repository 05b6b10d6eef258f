"""Parts of a work spread over Ray, on this machine or on many; a part whose worker is lost is done again.

Ray is an extra: kinevec[ray].
"""

from kinevec.cluster.place import Cluster, joined
from kinevec.cluster.pool import Lost
from kinevec.cluster.work import spread

__all__ = ["Cluster", "Lost", "joined", "spread"]
