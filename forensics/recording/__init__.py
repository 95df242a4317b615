"""The store of a training run: frames of named quantities by step, in memory or in a folder that grows.

A folder is read without torch, while it is written, and by anyone with plain zarr (:mod:`.layout` says how).
"""

from forensics.recording.channel import Channel
from forensics.recording.reader import open_recording
from forensics.recording.recording import Recording
from forensics.recording.writer import RecordingWriter

__all__ = ["Channel", "Recording", "RecordingWriter", "open_recording"]
