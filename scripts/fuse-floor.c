/* The floor under every FUSE server: as little as a server can do, in C.
 *
 *   fuse-floor serve DIR          mounts DIR and answers every lookup with ENOENT; ends when DIR is unmounted
 *   fuse-floor stat DIR COUNT     stats COUNT names that DIR does not have, each once, and prints how many a second
 *
 * Source of the protocol: linux include/uapi/linux/fuse.h. Every name is asked for once, so no kernel cache answers. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char request[(1 << 20) + 8192];
static char reply[8192];

static int serve(const char *dir) {
  int fd = open("/dev/fuse", O_RDWR);
  if (fd < 0) return perror("/dev/fuse"), 1;
  char options[128];
  snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions", fd);
  if (mount("fuse-floor", dir, "fuse", 0, options)) return perror("mount"), 1;
  struct fuse_in_header *in = (void *)request;
  struct fuse_out_header *out = (void *)reply;
  for (;;) {
    if (read(fd, request, sizeof request) < 0) {
      if (errno == ENODEV) return 0; /* unmounted */
      continue;
    }
    memset(reply, 0, 256);
    out->unique = in->unique;
    out->len = sizeof *out;
    switch (in->opcode) {
    case FUSE_INIT: {
      struct fuse_init_in *asked = (void *)(in + 1);
      struct fuse_init_out *init = (void *)(out + 1);
      init->major = 7;
      init->minor = 38;
      init->max_readahead = 1 << 20;
      init->flags = asked->flags & (FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_MAX_PAGES | FUSE_PARALLEL_DIROPS);
      init->max_background = 64;
      init->congestion_threshold = 48;
      init->max_write = 1 << 20;
      init->time_gran = 1;
      init->max_pages = 256;
      out->len += sizeof *init;
      break;
    }
    case FUSE_GETATTR: {
      struct fuse_attr_out *attributes = (void *)(out + 1);
      attributes->attr_valid = 1;
      attributes->attr.ino = in->nodeid;
      attributes->attr.mode = S_IFDIR | 0755;
      attributes->attr.nlink = 1;
      out->len += sizeof *attributes;
      break;
    }
    case FUSE_LOOKUP:
      out->error = -ENOENT;
      break;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
      continue; /* never answered */
    default:
      out->error = -ENOSYS;
    }
    if (write(fd, reply, out->len) < 0 && errno == ENODEV) return 0;
  }
}

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + now.tv_nsec / 1e9;
}

static int stat_missing(const char *dir, long count) {
  char path[4096];
  struct stat found;
  double start = seconds();
  for (long i = 0; i < count; i++) {
    /* The pid keeps names of a second run apart from those of the first. */
    snprintf(path, sizeof path, "%s/missing-%d-%ld", dir, getpid(), i);
    if (stat(path, &found) == 0 || errno != ENOENT) return fprintf(stderr, "%s: want ENOENT\n", path), 1;
  }
  printf("%.0f\n", count / (seconds() - start));
  return 0;
}

int main(int count, char **arguments) {
  if (count == 3 && !strcmp(arguments[1], "serve")) return serve(arguments[2]);
  if (count == 4 && !strcmp(arguments[1], "stat")) return stat_missing(arguments[2], atol(arguments[3]));
  fprintf(stderr, "usage: fuse-floor serve DIR | stat DIR COUNT\n");
  return 64;
}
