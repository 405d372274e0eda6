"""From a picture to an MP4: one second is encoded and its packets are repeated."""

import math
from array import array
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.container import OutputContainer
from av.filter import Graph
from av.filter.context import FilterContext
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from batchgen.sandbox.lettering import letters, playhead
from batchgen.sandbox.lights import lights
from batchgen.sandbox.pictures import FRAMES, Picture

_RATE = 48_000
_CHORD = (110, 165, 220, 277, 330)
"""Whole numbers of waves in a second: a second of them is seamless."""

_FRAME = Fraction(1, FRAMES)
_SAMPLE = Fraction(1, _RATE)
_X264 = {
    "preset": "ultrafast",
    "qp": "20",  # `crf` would cost twice the time
    "g": str(FRAMES),
    "keyint_min": str(FRAMES),
    "sc_threshold": "0",
    "bf": "0",
    "x264-params": "colorprim=bt709:transfer=bt709:colormatrix=bt709",
}


def render(picture: Picture, seconds: int, path: Path, *, sound: bool) -> None:
    """Write an MP4 of exactly so many seconds."""
    # The index goes in front, so that a player can begin before the end arrived.
    options = {"movflags": "+faststart"}
    with av.open(path, "w", format="mp4", options=options) as file:
        video = _video(file, picture)
        audio = file.add_stream("aac", rate=_RATE, layout="mono") if sound else None
        loop = [(bytes(packet), packet.pts or 0) for packet in _second(video, picture)]
        hum = _hum(seconds) if sound else ()
        for second in range(seconds):
            for data, place in loop:
                packet = _packet(data, second * FRAMES + place, 1, _FRAME)
                packet.is_keyframe = place == 0
                packet.stream = video
                file.mux(packet)
            for data, start, length in hum:
                if audio and second * _RATE <= max(start, 0) < (second + 1) * _RATE:
                    packet = _packet(data, start, length, _SAMPLE)
                    packet.stream = audio
                    file.mux(packet)


def _packet(data: bytes, start: int, length: int, unit: Fraction) -> "Packet[Any]":
    packet = Packet(data)
    packet.pts = packet.dts = start
    packet.duration = length
    packet.time_base = unit
    return packet


def _video(file: OutputContainer, picture: Picture) -> VideoStream:
    video = file.add_stream("libx264", rate=FRAMES, options=_X264)
    video.width, video.height = picture.width, picture.height
    video.pix_fmt = "yuv420p"
    video.time_base = _FRAME
    context = video.codec_context
    context.time_base = _FRAME
    context.color_primaries = context.color_trc = context.colorspace = 1  # bt709
    context.color_range = 1  # the range of television
    return video


def _second(video: VideoStream, picture: Picture) -> Iterator["Packet[Any]"]:
    for place, frame in enumerate(_frames(picture)):
        frame.pts, frame.time_base = place, _FRAME
        yield from video.encode(frame)
    yield from video.encode(None)


def _frames(picture: Picture) -> Iterator[VideoFrame]:
    graph, light, text, mark = _graph(picture)
    text.push(_white(letters(picture)))
    text.push(None)
    mark.push(_white(_mark(picture)))
    mark.push(None)
    for place, image in enumerate(lights(picture)):
        frame = VideoFrame.from_image(image)  # type: ignore[no-untyped-call]
        frame.pts, frame.time_base = place, _FRAME
        light.push(frame)
        drawn = graph.pull()
        assert isinstance(drawn, VideoFrame)  # noqa: S101 - a graph of pictures
        yield drawn


def _mark(picture: Picture) -> Image.Image:
    unit = picture.unit
    size = max(2, 2 * round(2.5 * unit)), max(4, 2 * round(14 * unit))
    return Image.new("L", size, 255)


def _graph(
    picture: Picture,
) -> tuple[Graph, FilterContext, FilterContext, FilterContext]:
    """Light, scaled up; letters over it; over both a mark that moves with time."""
    graph = Graph()
    size, mark = (picture.width, picture.height), _mark(picture).size
    start, line, length = playhead(picture)
    light = _source(graph, next(lights(picture)).size, "rgb24")
    text = _source(graph, size, "yuva420p")
    moving = _source(graph, mark, "yuva420p")
    wide = f"{size[0]}:{size[1]}:flags=bicubic:out_color_matrix=bt709:out_range=tv"
    along = f"{start - mark[0] / 2:.0f}+n*{length / FRAMES:.3f}"
    ground = graph.add("scale", wide)
    flat = graph.add("format", "yuv420p")
    written = graph.add("overlay", "0:0:format=yuv420")
    marked = graph.add("overlay", f"x='{along}':y={line - mark[1]:.0f}:format=yuv420")
    graph.link_nodes(light, ground, flat, written, marked, graph.add("buffersink"))
    text.link_to(written, 0, 1)
    moving.link_to(marked, 0, 1)
    graph.configure()
    return graph, light, text, moving


def _source(graph: Graph, size: tuple[int, int], form: str) -> FilterContext:
    return graph.add_buffer(
        width=size[0], height=size[1], format=av.VideoFormat(form), time_base=_FRAME
    )


def _white(mask: Image.Image) -> VideoFrame:
    """White, as opaque as the mask says; made plane by plane, nothing is converted."""
    frame = VideoFrame(*mask.size, "yuva420p")
    frame.pts, frame.time_base = 0, _FRAME
    for plane, value in zip(frame.planes[:3], (235, 128, 128), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    alpha = frame.planes[3]
    padded = Image.new("L", (alpha.line_size, alpha.height))
    padded.paste(mask)
    alpha.update(padded.tobytes())
    return frame


@cache
def _hum(seconds: int) -> tuple[tuple[bytes, int, int], ...]:
    """A soft chord as packets of AAC, with their start and length in samples."""
    encoder = av.CodecContext.create("aac", "w")
    assert isinstance(encoder, av.AudioCodecContext)  # noqa: S101 - by its name
    encoder.sample_rate, encoder.layout, encoder.format = _RATE, "mono", "fltp"
    encoder.time_base = _SAMPLE
    encoder.bit_rate = 96_000
    samples = _sung(seconds).tobytes()
    packets: list[Packet[Any]] = []
    for start in range(0, seconds * _RATE, 1024):
        piece = samples[4 * start : 4 * (start + 1024)]
        frame = AudioFrame("fltp", "mono", len(piece) // 4)
        frame.planes[0].update(piece)
        frame.sample_rate, frame.pts, frame.time_base = _RATE, start, _SAMPLE
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    return tuple((bytes(p), p.pts or 0, p.duration or 0) for p in packets)


def _sung(seconds: int) -> "array[float]":
    samples = _wave() * seconds
    fade = _RATE // 2
    for i in range(fade):
        samples[i] *= i / fade
        samples[-1 - i] *= i / fade
    return samples


def _wave() -> "array[float]":
    """One second of the chord, swelling once."""
    turn = math.tau / _RATE
    return array(
        "f",
        (
            0.05
            * (1 - 0.3 * math.cos(turn * i))
            * sum(
                math.sin(turn * pitch * i) / (n + 1) for n, pitch in enumerate(_CHORD)
            )
            for i in range(_RATE)
        ),
    )
