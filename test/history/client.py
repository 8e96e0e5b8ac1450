"""One client of a history: asks a directory for things until its input ends, and prints what it asked and was told.

Usage: client.py NAME DIRECTORY SEED. A line of output is one JSON object:
  {"kind": "write"|"read", "key", "value", "start", "end", "ok"}   milliseconds of CLOCK_MONOTONIC, end null when none came
  {"kind": "append", "line", "ok"}    {"kind": "section", "start", "end"}
What is begun is printed first, with end null, so that it is known when this process is killed in between.
"""
import fcntl, json, os, random, select, sys, time

NAME, DIR, SEED = sys.argv[1], sys.argv[2], int(sys.argv[3])
dice = random.Random(SEED)
FILES = 4
numbers = iter(range(1, 1 << 30))


def now():
    return time.monotonic() * 1000


def say(**what):
    os.write(1, (json.dumps({"client": NAME, **what}) + "\n").encode())


def attempt(what, work):
    """Says that it begins, does it, says how it ended. Returns what `work` returns, None for an error."""
    number, start = next(numbers), now()
    say(id=number, start=start, end=None, ok=False, **what)
    try:
        value = work()
        ok = True
    except OSError as error:
        value, ok = None, False
        what["why"] = error.strerror
    if what["kind"] == "read":
        what["value"] = value
    say(id=number, start=start, end=now(), ok=ok, **what)
    if not ok:
        time.sleep(0.05)
    return value


def path(key):
    return os.path.join(DIR, key)


def sync_directory():
    fd = os.open(DIR, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def put(key, text, flags=os.O_CREAT | os.O_WRONLY):
    fd = os.open(path(key), flags, 0o644)
    try:
        # Of one length, in one call: what is read is one value or another.
        os.write(fd, text.ljust(64).encode())
        os.fsync(fd)
    finally:
        os.close(fd)


def get(key):
    try:
        fd = os.open(path(key), os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        return os.read(fd, 64).decode().strip() or None
    finally:
        os.close(fd)


def write_file():
    key, value = f"file{dice.randrange(FILES)}", f"{NAME}-{next(numbers)}"
    attempt({"kind": "write", "key": key, "value": value}, lambda: put(key, value))


def read_file():
    key = f"file{dice.randrange(FILES)}"
    attempt({"kind": "read", "key": key, "value": None}, lambda: get(key))


def names():
    """A name of this client alone comes, perhaps moves, and goes; others look for it."""
    number = next(numbers)
    key, to = f"{NAME}-{dice.randrange(3)}", f"{NAME}-to{dice.randrange(3)}"
    value = f"{NAME}-{number}"

    def make():
        put(key + ".new", value)
        os.rename(path(key + ".new"), path(key))
        sync_directory()

    def move():
        os.rename(path(key), path(to))
        sync_directory()

    def remove():
        os.unlink(path(to))
        sync_directory()

    attempt({"kind": "write", "key": key, "value": value}, make)
    if get_quietly(key) != value:
        return
    start = now()
    moved = [{"kind": "write", "key": key, "value": None}, {"kind": "write", "key": to, "value": value}]
    ids = [next(numbers), next(numbers)]
    for number, what in zip(ids, moved):
        say(id=number, start=start, end=None, ok=False, **what)
    try:
        move()
        ok = True
    except OSError:
        ok = False
    end = now()
    for number, what in zip(ids, moved):
        say(id=number, start=start, end=end, ok=ok, **what)
    if ok and dice.random() < 0.5:
        attempt({"kind": "write", "key": to, "value": None}, remove)


def get_quietly(key):
    try:
        return get(key)
    except OSError:
        return None


def look():
    other = f"{dice.choice(PEERS)}-{dice.choice(['', 'to'])}{dice.randrange(3)}"
    attempt({"kind": "read", "key": other, "value": None}, lambda: get(other))


def append():
    line = f"{NAME} {next(numbers)}"
    say(id=(number := next(numbers)), kind="append", line=line, ok=False)
    try:
        fd = os.open(path("log"), os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
        try:
            os.write(fd, (line + "\n").encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        say(id=number, kind="append", line=line, ok=True)
    except OSError:
        time.sleep(0.05)


def lock():
    """Under a lock, a number goes up by one; who had the lock, and saw the new number synced, had it alone."""
    try:
        fd = os.open(path("lock"), os.O_CREAT | os.O_RDWR, 0o644)
    except OSError:
        time.sleep(0.05)
        return
    try:
        take = lambda: fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if dice.random() < 0.5:
            take = lambda: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            kind = "flock"
        else:
            kind = "fcntl"
        take()
        start = now()
        os.pwrite(fd, f"{NAME} {start}".ljust(64).encode(), 0)
        os.fsync(fd)
        say(id=next(numbers), kind=kind, start=start, end=now())
    except OSError as error:
        if error.errno not in (11, 13):
            time.sleep(0.05)
    finally:
        try:
            os.close(fd)
        except OSError:
            pass


PEERS = sys.argv[4].split(",")
WORK = [write_file] * 4 + [read_file] * 4 + [names] * 2 + [look] * 3 + [append] * 2 + [lock] * 3
while not select.select([sys.stdin], [], [], 0)[0]:
    dice.choice(WORK)()
    time.sleep(dice.random() * 0.02)
