"""The main job from end to end, with a report to open in a browser."""

from kinevec.demo.job import demo

__all__ = ["demo"]
