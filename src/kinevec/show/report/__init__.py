"""One page that shows what an encoder learned: scores, training curves, and videos beside their neighbours.

The page is a single file that asks nothing of the network: style, script and videos stand inside it, and
its content security policy forbids the rest, also to whatever the names and labels of videos may hold.
"""

from kinevec.show.curves import Curve
from kinevec.show.report.content import Neighbour, Report, Row, Section
from kinevec.show.report.page import write_report

__all__ = ["Curve", "Neighbour", "Report", "Row", "Section", "write_report"]
