#!/usr/bin/env python3
"""The same work on any mounted directory; one line of JSON comes out.  fsbench.py DIR [LABEL]

Rates are per second, throughput in MiB/s. Figures are only good side by side, from one machine in one sitting: scripts/bench does that.
Environment: SIZE_MB (256) of the large file, FILES (2000) small ones, TAR a tar file to unpack. Needs root, to drop caches.
"""
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

MIB = 1 << 20
PAGE = 4096
SIZE_MB = int(os.environ.get('SIZE_MB', '256'))
FILES = int(os.environ.get('FILES', '2000'))
TAR = os.environ.get('TAR')
RANDOM_READS, BUFFERED_WRITES, SYNCED_WRITES = 2000, 4000, 300
RENAMES = 500
THREADS, FILES_PER_THREAD = 8, 250


def drop_caches():
    """After this, reads come from the filesystem and not from the page cache, and names from lookups."""
    os.sync()
    with open('/proc/sys/vm/drop_caches', 'w') as file:
        file.write('3')


def rate(count, work):
    start = time.perf_counter()
    work()
    return round(count / (time.perf_counter() - start))


class Bench:
    def __init__(self, directory):
        self.dir = directory
        self.big = f'{directory}/big'
        self.block = os.urandom(PAGE)
        self.results = {}

    def small(self, number):
        return f'{self.dir}/s{number}'

    def offsets(self, dice, count):
        return [dice.randrange(SIZE_MB * MIB // PAGE) * PAGE for _ in range(count)]

    def sequential(self):
        chunk = os.urandom(MIB)

        def write():
            fd = os.open(self.big, os.O_CREAT | os.O_WRONLY)
            for _ in range(SIZE_MB):
                os.write(fd, chunk)
            os.fsync(fd)
            os.close(fd)

        def read():
            fd = os.open(self.big, os.O_RDONLY)
            while os.read(fd, MIB):
                pass
            os.close(fd)

        self.results['seq_write_fsync_MiBps'] = rate(SIZE_MB, write)
        drop_caches()
        self.results['seq_read_cold_MiBps'] = rate(SIZE_MB, read)
        self.results['seq_read_warm_MiBps'] = rate(SIZE_MB, read)

    def at_random(self):
        dice = random.Random(7)
        drop_caches()
        fd = os.open(self.big, os.O_RDWR)

        def read():
            for offset in reads:
                os.pread(fd, PAGE, offset)

        def write_then_sync():
            for offset in writes:
                os.pwrite(fd, self.block, offset)
            os.fsync(fd)

        def write_synced():
            for offset in writes[:SYNCED_WRITES]:
                os.pwrite(fd, self.block, offset)
                os.fdatasync(fd)

        reads = self.offsets(dice, RANDOM_READS)
        self.results['rand_read4k_cold_iops'] = rate(RANDOM_READS, read)
        writes = self.offsets(dice, BUFFERED_WRITES)
        self.results['rand_write4k_buffered_iops'] = rate(BUFFERED_WRITES, write_then_sync)
        self.results['rand_write4k_fdatasync_iops'] = rate(SYNCED_WRITES, write_synced)
        os.close(fd)

    def put(self, path):
        fd = os.open(path, os.O_CREAT | os.O_WRONLY)
        os.write(fd, self.block)
        os.close(fd)

    def small_files(self):
        def create():
            for number in range(FILES):
                self.put(self.small(number))

        def stat():
            for number in range(FILES):
                os.stat(self.small(number))

        def read():
            for number in range(FILES):
                fd = os.open(self.small(number), os.O_RDONLY)
                os.read(fd, 2 * PAGE)
                os.close(fd)

        def list_long():
            for entry in os.scandir(self.dir):
                entry.stat()

        def rename():
            for number in range(RENAMES):
                os.rename(self.small(number), f'{self.dir}/r{number}')

        def unlink():
            for number in range(RENAMES, FILES):
                os.unlink(self.small(number))

        self.results['create4k_per_s'] = rate(FILES, create)
        drop_caches()
        self.results['stat_cold_per_s'] = rate(FILES, stat)
        self.results['stat_warm_per_s'] = rate(FILES, stat)
        drop_caches()
        self.results['read4k_cold_per_s'] = rate(FILES, read)
        drop_caches()
        self.results['ls_l_cold_entries_per_s'] = rate(FILES, list_long)
        self.results['rename_per_s'] = rate(RENAMES, rename)
        self.results['unlink_per_s'] = rate(FILES - RENAMES, unlink)

    def tree(self):
        if not TAR:
            return
        entries = len(subprocess.run(['tar', 'tf', TAR], capture_output=True, check=True).stdout.splitlines())

        def unpack():
            subprocess.run(['tar', 'xf', TAR, '-C', self.dir], check=True)

        def remove():
            subprocess.run(['rm', '-rf', *[f'{self.dir}/{name}' for name in os.listdir(self.dir) if name != 'big']], check=True)

        self.results['untar_entries_per_s'] = rate(entries, unpack)
        self.results['rm_rf_entries_per_s'] = rate(entries, remove)

    def together(self):
        def create(thread):
            for number in range(FILES_PER_THREAD):
                self.put(f'{self.dir}/p{thread}-{number}')

        threads = [threading.Thread(target=create, args=(number,)) for number in range(THREADS)]

        def run():
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        self.results['create4k_8threads_per_s'] = rate(THREADS * FILES_PER_THREAD, run)


def main():
    base = sys.argv[1]
    label = sys.argv[2] if len(sys.argv) > 2 else base
    directory = tempfile.mkdtemp(prefix='fsbench-', dir=base)
    bench = Bench(directory)
    try:
        bench.sequential()
        bench.at_random()
        bench.small_files()
        bench.tree()
        bench.together()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print(json.dumps({'label': label, **bench.results}))


main()
