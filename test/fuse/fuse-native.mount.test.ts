// alone: it makes a mount namespace, with copies of whatever others mount
// deadline: 180 s
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative, resolve } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { PROGRAM, startNode, until } from '../support/node-world.ts'

/** The second driver: the namespace mounted by fusermount, by a user who is not root. */

/** The user daemon, on every Debian: fusermount refuses a number that has no name. */
const USER = 1
/** Checkout and Node may lie below root's home, which nobody else can enter: the user gets them bound beside his own directory. */
const CHECKOUT = resolve(PROGRAM, '../..')

/**
 * A shell of that user in a mount namespace of its own, where /dev/fuse is open to everybody as udev makes it. What it
 * mounts goes with it. Set-up is done by root before; `script` sees $D (a directory of its own), $M (the mount point), weft().
 */
class UserShell {
  readonly dir = realpathSync(mkdtempSync(join(tmpdir(), 'weft-user-')))

  constructor() {
    chmodSync(this.dir, 0o755)
    for (const name of ['dev', 'checkout']) mkdirSync(join(this.dir, name))
    for (const name of ['d', 'd/m', 'd/run', 'd/other']) {
      mkdirSync(join(this.dir, name))
      chownSync(join(this.dir, name), USER, USER)
    }
    writeFileSync(join(this.dir, 'node'), '')
  }

  run(script: string): { code: number | null; out: string; err: string } {
    writeFileSync(join(this.dir, 'd/script'), `${PRELUDE}\n${script}\n`)
    const outer = `set -e
mount --make-rprivate /
mount -t tmpfs -o dev none '${this.dir}/dev'
mknod -m 666 '${this.dir}/dev/fuse' c 10 229
mount --bind '${this.dir}/dev/fuse' /dev/fuse
mount --bind '${CHECKOUT}' '${this.dir}/checkout'
mount --bind '${process.execPath}' '${this.dir}/node'
exec setpriv --reuid ${USER} --regid ${USER} --clear-groups env -u TMPDIR XDG_RUNTIME_DIR='${this.dir}/d/run' D='${this.dir}/d' \
  NODE='${this.dir}/node' PROGRAM='${this.inside(PROGRAM)}' LC_ALL=C.UTF-8 bash '${this.dir}/d/script'`
    const done = spawnSync('unshare', ['-m', 'bash', '-c', outer], {
      encoding: 'utf8',
      timeout: 90_000,
    })
    return { code: done.status, out: done.stdout, err: done.stderr }
  }

  /** Where the user sees a path of the checkout. */
  inside(path: string): string {
    return join(this.dir, 'checkout', relative(CHECKOUT, path))
  }

  close(): void {
    rmSync(this.dir, { recursive: true, force: true })
  }
}

const PRELUDE = `set -eu
cd "$D"; M="$D/m"
weft() { "$NODE" "$PROGRAM" --home "$D/home" "$@"; }
trap 'weft down >/dev/null 2>&1 || true' EXIT
fails() { local want=$1; shift; if said=$("$@" 2>&1); then echo "succeeded: $*" >&2; exit 1; fi
  case "$said" in *"$want"*) ;; *) echo "$* said: $said" >&2; exit 1 ;; esac; }
is() { [ "$1" = "$2" ] || { echo "line $BASH_LINENO: '$1' is not '$2'" >&2; exit 1; }; }`

function passes(shell: UserShell, script: string): string {
  const { code, out, err } = shell.run(`${script}\necho done-well`)
  assert.is(code, 0, `${err}\n${out}`)
  assert.match(out, /done-well/)
  return out
}

test('a user who is not root mounts, copies a tree in, and reads back the same', () => {
  const shell = new UserShell()
  try {
    const tree = shell.inside(join(import.meta.dirname, '..'))
    const out = passes(
      shell,
      `weft mount "$M"
grep -q " $M .* fuse.weft weft rw" /proc/self/mountinfo
mkdir "$M/notes"
is "$(ls "$M")" notes
cp -r '${tree}' "$M/notes/tree"; diff -r '${tree}' "$M/notes/tree"
cp -r "$M/notes/tree" "$M/notes/copy"; diff -r "$M/notes/tree" "$M/notes/copy"
mv "$M/notes/copy" "$M/notes/moved"; mv "$M/notes/moved/fuse" "$M/notes/moved/elsewhere"
[ ! -e "$M/notes/copy" ]; diff -r '${tree}/fuse' "$M/notes/moved/elsewhere"
rm -r "$M/notes/moved"
is "$(ls "$M/notes")" tree
is "$(stat -c '%u %g' "$M/notes/tree")" "${USER} ${USER}"
sync -f "$M/notes"
weft umount "$M"; weft down; weft mount "$M"
diff -r '${tree}' "$M/notes/tree"
weft status`,
    )
    assert.match(out, /note: times have milliseconds/)
    assert.match(out, /fuse-native/)
  } finally {
    shell.close()
  }
})

test('files are what POSIX says as far as the driver carries it', () => {
  const shell = new UserShell()
  try {
    passes(
      shell,
      `weft up; weft volume create v --size 64M; weft mount "$M"; cd "$M/v"
echo one > a; echo two > b; mv b a; is "$(cat a)" two
exec 5<> a; rm a; echo three >&5; is "$(head -1 < /proc/self/fd/5)" three; exec 5>&-
for i in 1 2 3; do echo $i >> log; done; is "$(tr '\\n' ' ' < log)" '1 2 3 '
ln log hard; is "$(stat -c '%h %i' log)" "2 $(stat -c %i hard)"; ln -s log soft; is "$(readlink soft)" log
truncate -s 100000 log; is "$(stat -c %s log)" 100000; truncate -s 2 log; is "$(cat hard)" 1
chmod 640 log; is "$(stat -c %a log)" 640; mkfifo pipe; is "$(stat -c %F pipe)" fifo
touch -d '2001-02-03 04:05:06.789Z' log; is "$(stat -c %.3Y log)" 981173106.789
dd if=/dev/urandom of=../../big bs=1M count=9 2>/dev/null; cp ../../big big; cmp ../../big big
dd if=../../big of=big bs=4097 seek=3 skip=3 conv=notrunc,fsync 2>/dev/null; cmp ../../big big
setfattr -n user.word -v value log; is "$(getfattr --only-values -n user.word log 2>/dev/null)" value
python3 -c "
import os, ctypes
assert os.listxattr('log') == ['user.word']
libc = ctypes.CDLL(None, use_errno=True)
assert libc.getxattr(b'log', b'user.word', ctypes.create_string_buffer(2), 2) == -1 and ctypes.get_errno() == 34"
setfattr -x user.word log; fails 'not supported' setfacl -m u:7:r log
fails 'Not a directory' ls log/x; fails 'File name too long' touch $(printf 'x%.0s' $(seq 256))
fails 'Invalid or incomplete multibyte' touch $'bad-\\xff-name'
touch 'ä ö 日本'; is "$(ls | grep 日)" 'ä ö 日本'
mkdir d; touch d/f; fails 'not empty' rmdir d; rm d/f; rmdir d
fails 'Operation not permitted' touch ../file; fails 'Operation not permitted' mv ../v ../w; fails 'Invalid argument' mkdir '../a b'
fails 'not empty' rmdir ../v
mkdir ../w; fails 'cross-device' ln log ../w/log; mv log ../w/log; [ -e ../w/log ]; rm ../w/log; rmdir ../w
fails 'No space left' dd if=/dev/zero of=full bs=1M count=80; rm full
is "$(df --output=size -B1M . | tail -1 | tr -d ' ')" 64
seq 3000 | xargs touch; is "$(ls | grep -c '^[0-9]*$')" 3000; seq 3000 | xargs rm
cd "$D"; weft umount "$M"`,
    )
  } finally {
    shell.close()
  }
})

test('the mount comes back after a kill of the daemon, with every byte that write accepted', () => {
  const shell = new UserShell()
  try {
    passes(
      shell,
      `weft mount "$M"; mkdir "$M/v"; head -c 3000000 /dev/urandom > random; cp random "$M/v/kept"
old=$(weft status --json | sed 's/.*"pid":\\([0-9]*\\).*/\\1/'); kill -9 $old
for i in $(seq 100); do cmp -s random "$M/v/kept" && break; sleep 0.1; done
cmp random "$M/v/kept"; echo more >> "$M/v/kept"
weft key lock v; ls "$M" | grep -q v; fails 'Required key not available' ls "$M/v/"
weft key unlock v; cat "$M/v/kept" > /dev/null
( cd "$M/v"; sleep 3 ) & sleep 0.3
fails 'is in use' weft umount "$M"; fails 'mounted at' weft mount --driver kernel "$D/other"
wait
fusermount -u "$M"; sleep 0.2; weft status | grep -q 'nothing is mounted'
weft mount "$M"; cat "$M/v/kept" > /dev/null; weft down; [ ! -e "$M/v" ]`,
    )
  } finally {
    shell.close()
  }
})

test('root may choose the driver too, and there is one namespace mount at a time', async () => {
  const world = await startNode({ mount: false })
  try {
    const said = await world.weft('mount', '--driver', 'fuse-native', world.mnt)
    assert.match(said, /note: only the user who mounted/)
    spawnSync('mkdir', [join(world.mnt, 'v')])
    const done = spawnSync('bash', ['-ec', 'echo x > "$1/v/f"; cat "$1/v/f"', 'bash', world.mnt], {
      encoding: 'utf8',
    })
    assert.is(done.stdout, 'x\n', done.stderr)
    const kernel = await world.tryWeft('mount', world.mkdir('other'))
    assert.is(kernel.code, 5)
    assert.match(kernel.stderr, /mounted at .* already, through the driver fuse-native/)
    // An exclusive mount takes the writing from it.
    const point = world.mkdir('point')
    await world.weft('attach', 'v', point)
    const refused = spawnSync('bash', ['-c', 'echo y > "$1/v/f"', 'bash', world.mnt], {
      encoding: 'utf8',
    })
    assert.match(refused.stderr, /Read-only file system/)
    writeFileSync(join(point, 'f'), 'from attach\n')
    await world.weft('detach', point)
    await until('what the attached mount wrote is seen', () => {
      const seen = spawnSync('cat', [join(world.mnt, 'v/f')], { encoding: 'utf8' })
      return seen.stdout === 'from attach\n'
    })
    await world.weft('umount', world.mnt)
    await world.weft('mount', world.mnt)
    assert.ok(existsSync(join(world.mnt, 'v/f')))
    const native = await world.tryWeft('mount', '--driver', 'fuse-native', world.mkdir('third'))
    assert.is(native.code, 5)
    assert.match(native.stderr, /through the driver kernel/)
  } finally {
    await world.close()
  }
})

test.run()
