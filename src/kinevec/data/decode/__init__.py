"""Exact frames out of video files: `probe` a file once, then `read_clip` any of its frames.

A frame has a number, its rank in order of presentation. Numbers are turned into presentation
timestamps (pts) by the table that `probe` reads from the packets, so that variable frame rates
and B-frames are exact. Files whose packets carry no usable pts (old AVI) are decoded from the
start and counted.
"""

from kinevec.data.decode.clip import Clip, iter_frames, read_clip
from kinevec.data.decode.info import VideoInfo, probe

__all__ = ["Clip", "VideoInfo", "iter_frames", "probe", "read_clip"]
