/* Preloaded before libc: the file operations of this process under one folder, counted, and one of them refused.
 *
 * faults_arm says under which folder, which operation, with which error, and whether those that would need room on the
 * disk fail from then on, as on a full disk. Everything else passes to the next library's function of that name.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[PATH_MAX];
static long counted, refused_at;
static int refused_with, stays_full;
static char refused_what[PATH_MAX + 32];

void faults_arm(const char *under, long at, int error, int full) {
    snprintf(folder, sizeof folder, "%s", under);
    counted = 0;
    refused_at = at;
    refused_with = error;
    stays_full = full;
    refused_what[0] = 0;
}

long faults_counted(void) { return counted; }
const char *faults_refused(void) { return refused_what; }

/* Whether this operation is to fail; needs_room: whether it would on a full disk. */
static int is_refused(const char *operation, const char *path, int needs_room) {
    char whole[PATH_MAX];
    if (!folder[0] || !path) return 0;
    if (path[0] != '/') {
        if (!getcwd(whole, sizeof whole)) return 0;
        size_t length = strlen(whole);
        snprintf(whole + length, sizeof whole - length, "/%s", path);
        path = whole;
    }
    if (strncmp(path, folder, strlen(folder))) return 0;
    long number = ++counted;
    int fails = number == refused_at || (stays_full && needs_room && refused_at > 0 && number > refused_at);
    if (!fails) return 0;
    if (number == refused_at) snprintf(refused_what, sizeof refused_what, "%s %s", operation, path);
    errno = refused_with;
    return 1;
}

static int is_refused_file(const char *operation, int descriptor, int needs_room) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return is_refused(operation, path, needs_room);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPEN(name)                                                                 \
    int name(const char *path, int flags, ...) {                                   \
        va_list rest;                                                              \
        va_start(rest, flags);                                                     \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;    \
        va_end(rest);                                                              \
        if (is_refused("open", path, flags & O_CREAT ? 1 : 0)) return -1;          \
        return NEXT(name)(path, flags, mode);                                      \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                                    \
    int name(int at, const char *path, int flags, ...) {                                                \
        va_list rest;                                                                                   \
        va_start(rest, flags);                                                                          \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                         \
        va_end(rest);                                                                                   \
        if ((at == AT_FDCWD || path[0] == '/') && is_refused("open", path, flags & O_CREAT ? 1 : 0)) return -1; \
        return NEXT(name)(at, path, flags, mode);                                                       \
    }
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int descriptor, const void *data, size_t size) {
    return is_refused_file("write", descriptor, 1) ? -1 : NEXT(write)(descriptor, data, size);
}
ssize_t writev(int descriptor, const struct iovec *parts, int count) {
    return is_refused_file("write", descriptor, 1) ? -1 : NEXT(writev)(descriptor, parts, count);
}
int fsync(int descriptor) { return is_refused_file("fsync", descriptor, 1) ? -1 : NEXT(fsync)(descriptor); }
int ftruncate(int descriptor, off_t size) {
    return is_refused_file("truncate", descriptor, 1) ? -1 : NEXT(ftruncate)(descriptor, size);
}
int mkdir(const char *path, mode_t mode) { return is_refused("mkdir", path, 1) ? -1 : NEXT(mkdir)(path, mode); }
int unlink(const char *path) { return is_refused("unlink", path, 0) ? -1 : NEXT(unlink)(path); }
int rmdir(const char *path) { return is_refused("rmdir", path, 0) ? -1 : NEXT(rmdir)(path); }
int rename(const char *from, const char *to) {
    return is_refused("rename", to, 0) ? -1 : NEXT(rename)(from, to);
}
