#!/usr/bin/env python3
"""Large things on any mounted directory; one line of JSON comes out, progress goes to standard error.

  fsgrowth.py create DIR COUNT    COUNT empty files, with the rates about number 10,000 and at the end
  fsgrowth.py list DIR PID        ls -f, cold; how ls grows, and the anonymous memory of process PID
  fsgrowth.py stat DIR COUNT      lstat of each of them
  fsgrowth.py write FILE MIB      a file of random bytes, in order, fsync'd
  fsgrowth.py scatter FILE        as many random 4-KiB writes as it has pages, fsync'd at the end
  fsgrowth.py read FILE           three times in order, each cold

scripts/bench --growth puts them together. Needs root, to drop caches.
"""
import json
import os
import random
import subprocess
import sys
import time

MIB = 1 << 20
PAGE = 4096
# Files of which a rate is taken: number 5,000 to 15,000, and as many at the end.
WINDOW = 10_000
EARLY = 5_000
PROGRESS = 100_000
READS = 3
LIST_PIECE = 256 * 1024


def drop_caches():
    os.sync()
    with open('/proc/sys/vm/drop_caches', 'w') as file:
        file.write('3')


def say(text):
    print(f'  {text}', file=sys.stderr, flush=True)


def name(directory, number):
    return f'{directory}/file-{number:07}'


def create(directory, count):
    count = int(count)
    marks = {}
    watched = {EARLY, EARLY + WINDOW, count - WINDOW, count}
    start = before = time.perf_counter()
    for number in range(count + 1):
        if number in watched:
            marks[number] = time.perf_counter()
        if number and number % PROGRESS == 0:
            now = time.perf_counter()
            say(f'{number:,} files, the last {PROGRESS:,} at {PROGRESS / (now - before):,.0f}/s')
            before = now
        if number < count:
            os.close(os.open(name(directory, number), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    return {
        'early_per_s': WINDOW / (marks[EARLY + WINDOW] - marks[EARLY]),
        'last_per_s': WINDOW / (marks[count] - marks[count - WINDOW]),
        'seconds': marks[count] - start,
    }


def kib(pid, key):
    with open(f'/proc/{pid}/status') as file:
        for line in file:
            if line.startswith(f'{key}:'):
                return int(line.split()[1])
    return 0


def list_names(directory, daemon):
    drop_caches()
    before = most = kib(daemon, 'RssAnon')
    ls_most = lines = 0
    first = None
    start = time.perf_counter()
    # Not on a terminal ls prints each name as it comes.
    ls = subprocess.Popen(['ls', '-f', directory], stdout=subprocess.PIPE, bufsize=0)
    while piece := ls.stdout.read(LIST_PIECE):
        first = first or time.perf_counter()
        lines += piece.count(b'\n')
        most = max(most, kib(daemon, 'RssAnon'))
        ls_most = max(ls_most, kib(ls.pid, 'VmHWM'))
    if ls.wait() != 0:
        raise SystemExit(f'ls -f ended with {ls.returncode}')
    return {
        # Without . and ..
        'entries': lines - 2,
        'seconds': time.perf_counter() - start,
        'first_ms': 1000 * (first - start),
        'ls_bytes': ls_most * 1024,
        'daemon_growth_bytes': (most - before) * 1024,
    }


def stat(directory, count):
    start = time.perf_counter()
    for number in range(int(count)):
        os.lstat(name(directory, number))
    return {'per_s': int(count) / (time.perf_counter() - start)}


def write(path, mib):
    piece = os.urandom(MIB)
    fd = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    for _ in range(int(mib)):
        if os.write(fd, piece) != MIB:
            raise SystemExit('a short write')
    os.fsync(fd)
    os.close(fd)
    return {}


def scatter(path):
    dice = random.Random(7)
    page = os.urandom(PAGE)
    fd = os.open(path, os.O_WRONLY)
    pages = os.fstat(fd).st_size // PAGE
    start = before = time.perf_counter()
    for done in range(1, pages + 1):
        os.pwrite(fd, page, dice.randrange(pages) * PAGE)
        if done % PROGRESS == 0:
            now = time.perf_counter()
            say(f'{done:,} of {pages:,} writes, the last {PROGRESS:,} at {PROGRESS / (now - before):,.0f}/s')
            before = now
    os.fsync(fd)
    os.close(fd)
    return {'per_s': pages / (time.perf_counter() - start)}


def read(path):
    buffer = bytearray(MIB)
    rates = []
    for _ in range(READS):
        drop_caches()
        fd = os.open(path, os.O_RDONLY)
        size = 0
        start = time.perf_counter()
        while count := os.readv(fd, [buffer]):
            size += count
        rates.append(size / MIB / (time.perf_counter() - start))
        if size != os.fstat(fd).st_size:
            raise SystemExit(f'{size} bytes were read of {os.fstat(fd).st_size}')
        os.close(fd)
    return {'MiBps': rates}


VERBS = {'create': create, 'list': list_names, 'stat': stat, 'write': write, 'scatter': scatter, 'read': read}

if len(sys.argv) < 3 or sys.argv[1] not in VERBS:
    raise SystemExit(__doc__)
print(json.dumps(VERBS[sys.argv[1]](*sys.argv[2:])))
