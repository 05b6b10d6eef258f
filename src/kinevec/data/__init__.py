"""From files to clips."""

from kinevec.data.decode import Clip, VideoInfo, probe, read_clip
from kinevec.data.files import find_records, with_split
from kinevec.data.records import Record
from kinevec.data.source import Collection, Videos, open_videos
from kinevec.data.synthetic import SynthConfig, write_synthetic_videos

__all__ = [
    "Clip",
    "Collection",
    "Record",
    "SynthConfig",
    "VideoInfo",
    "Videos",
    "find_records",
    "open_videos",
    "probe",
    "read_clip",
    "with_split",
    "write_synthetic_videos",
]
