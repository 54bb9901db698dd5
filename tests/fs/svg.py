#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# svg.py FILE PNG: a drawing is well-formed, no label meets another one or the
# edge (measured with the font that draws them), and its picture is not blank.
import struct
import sys
import xml.etree.ElementTree as tree
import zlib

FONTS = "/usr/share/fonts/truetype/dejavu/DejaVuSans%s.ttf"
SVG = "{http://www.w3.org/2000/svg}"


class Font:
    """Widths of characters, from the tables of a TrueType font."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.data = f.read()
        self.tables = {}
        for i in range(self.number(4)):
            tag, _, at, _ = struct.unpack_from(">4sIII", self.data, 12 + 16 * i)
            self.tables[tag] = at
        self.unit = self.number(self.tables[b"head"] + 18)
        self.metrics = self.number(self.tables[b"hhea"] + 34)
        cmap = self.tables[b"cmap"]
        for i in range(self.number(cmap + 2)):
            _, _, at = struct.unpack_from(">HHI", self.data, cmap + 4 + 8 * i)
            self.map = cmap + at
            if self.number(self.map) == 4:
                break

    def number(self, at):
        return struct.unpack_from(">H", self.data, at)[0]

    def glyph(self, code):
        n = self.number(self.map + 6)
        ends, ranges = self.map + 14, self.map + 16 + 3 * n
        for at in range(0, n, 2):
            if code > self.number(ends + at):
                continue
            start = self.number(ends + 2 + n + at)
            if code < start:
                return 0
            delta = self.number(ends + 2 + 2 * n + at)
            offset = self.number(ranges + at)
            if not offset:
                return (code + delta) & 0xffff
            return self.number(ranges + at + offset + 2 * (code - start))
        return 0

    def width(self, text):
        glyphs = (min(self.glyph(ord(c)), self.metrics - 1) for c in text)
        return sum(self.number(self.tables[b"hmtx"] + 4 * g)
                   for g in glyphs) / self.unit


fonts = {"": Font(FONTS % ""), "bold": Font(FONTS % "-Bold")}


def boxes(root):
    """(left, top, right, bottom, text) of each label."""
    for group in root.iter():
        if group.tag == SVG + "g" and group.find(SVG + "text") is not None:
            sys.exit("a label in a group: its place is not known here")
    for e in root.iter(SVG + "text"):
        size, x, y = (float(e.get(k)) for k in ("font-size", "x", "y"))
        width = fonts[e.get("font-weight", "")].width(e.text) * size
        left = x - width * {"middle": 0.5, "end": 1}.get(e.get("text-anchor"), 0)
        yield left, y - 0.78 * size, left + width, y + 0.24 * size, e.text


def check_labels(root):
    _, _, width, height = map(float, root.get("viewBox").split())
    labels = sorted(boxes(root))
    for i, (left, top, right, bottom, text) in enumerate(labels):
        if left < 0 or top < 0 or right > width or bottom > height:
            sys.exit(f"{text!r} is outside")
        for other in labels[i + 1:]:
            if other[0] >= right:
                break
            if other[1] < bottom and other[3] > top:
                sys.exit(f"{text!r} meets {other[4]!r}")
    return len(labels)


def pixels(path):
    """Lines of RGBA bytes of an 8-bit PNG."""
    with open(path, "rb") as f:
        data = f.read()
    at, packed = 8, b""
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack_from(">IIBB", data, at + 8)
        if kind == b"IDAT":
            packed += data[at + 8:at + 8 + size]
        at += 12 + size
    if depth != 8 or colour not in (2, 6):
        sys.exit("a PNG of another kind")
    step = 4 if colour == 6 else 3
    raw, above = zlib.decompress(packed), bytearray(width * step)
    for y in range(height):
        start = y * (width * step + 1)
        line = bytearray(raw[start + 1:start + 1 + width * step])
        for i, byte in enumerate(line):
            a = line[i - step] if i >= step else 0
            b, c = above[i], above[i - step] if i >= step else 0
            nearest = min((abs(b - c), 0, a), (abs(a - c), 1, b),
                          (abs(a + b - 2 * c), 2, c))[2]
            line[i] = (byte + (0, a, b, (a + b) // 2, nearest)[raw[start]]) & 255
        yield [bytes(line[i:i + 3]) for i in range(0, len(line), step)]
        above = line


def check_picture(path):
    lines = list(pixels(path))
    white = sum(p == b"\xff\xff\xff" for line in lines for p in line)
    everything = sum(map(len, lines))
    colours = {p for line in lines for p in line}
    if lines[0][0] != b"\xff\xff\xff" or len(colours) < 8:
        sys.exit(f"{len(colours)} colours in the picture")
    if not 0.1 < white / everything < 0.995:
        sys.exit(f"{white} of {everything} points are white")


root = tree.parse(sys.argv[1]).getroot()
if root.tag != SVG + "svg":
    sys.exit("no drawing")
count = check_labels(root)
check_picture(sys.argv[2])
print(f"{count} labels")
