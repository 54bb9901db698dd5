#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""follow-events.py [FILE [SEQ]]: prints every event after number SEQ as it comes.

Events are numbered without a gap and the last 10,000 are kept, so a program that
remembers the last number it saw knows after a pause what it has missed.
"""
import json
import os
import select
import sys

path = sys.argv[1] if len(sys.argv) > 1 else "cluster/events"
last = int(sys.argv[2]) if len(sys.argv) > 2 else 0
fd = os.open(path, os.O_RDONLY)
poll = select.poll()
poll.register(fd, select.POLLIN)
rest = b""
while True:
    poll.poll()
    try:
        *lines, rest = (rest + os.read(fd, 65536)).split(b"\n")
    except OSError as e:
        sys.exit(f"{path}: {e.strerror}")
    for line in lines:
        line = line.rpartition(b"\0")[2]  # what is kept no more reads as zeros
        seq = json.loads(line)["seq"]
        if seq > last + 1:
            print(f"missed {last + 1} to {seq - 1}", file=sys.stderr, flush=True)
        if seq > last:
            print(line.decode(), flush=True)
            last = seq
