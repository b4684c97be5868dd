#define _GNU_SOURCE
#include "LayerFiles.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

static int result(int code) { return code < 0 ? -errno : code; }

static int open_folder(int root, const char *path) {
    struct open_how how;
    memset(&how, 0, sizeof how);
    how.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;
    return result((int)syscall(SYS_openat2, root, path[0] ? path : ".", &how, sizeof how));
}

int jc_layer_folder(int root, const char *path) { return open_folder(root, path); }

int jc_layer_make_folders(int root, const char *path) {
    char part[NAME_MAX + 1];
    int folder = open_folder(root, "");
    while (folder >= 0 && *path) {
        const char *end = strchrnul(path, '/');
        size_t size = (size_t)(end - path);
        if (size > NAME_MAX) {
            close(folder);
            return -ENAMETOOLONG;
        }
        memcpy(part, path, size);
        part[size] = 0;
        int next = open_folder(folder, part);
        if (next == -ENOENT) {
            int64_t seconds = 0, nanoseconds = 0;
            next = jc_layer_time(folder, &seconds, &nanoseconds);
            if (next == 0) next = result(mkdirat(folder, part, 0755));
            if (next == 0) next = open_folder(folder, part);
            // The mode again, because the process may have a umask.
            if (next >= 0) fchmod(next, 0755);
            if (next >= 0) jc_layer_set_time(next, 0, 0);
            jc_layer_set_time(folder, seconds, nanoseconds);
        }
        close(folder);
        folder = next;
        path = *end ? end + 1 : end;
    }
    return folder;
}

int jc_layer_make_file(int folder, const char *name) {
    return result(openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
}

int jc_layer_make_folder(int folder, const char *name) { return result(mkdirat(folder, name, 0700)); }

int jc_layer_make_link(int folder, const char *name, const char *target) {
    return result(symlinkat(target, folder, name));
}

int jc_layer_make_pipe(int folder, const char *name, mode_t mode) {
    if (mknodat(folder, name, S_IFIFO | 0600, 0) != 0) return -errno;
    // Apart from the making, because the process may have a umask. It is our pipe: no link can be in its place.
    return result(fchmodat(folder, name, mode & 0777, 0));
}

int jc_layer_make_whiteout(int folder, const char *name) {
    return result(mknodat(folder, name, S_IFCHR | 0600, makedev(0, 0)));
}

int jc_layer_make_hard_link(int from_folder, const char *from, int folder, const char *name) {
    return result(linkat(from_folder, from, folder, name, 0));
}

int jc_layer_kind(int folder, const char *name) {
    struct stat information;
    if (fstatat(folder, name, &information, AT_SYMLINK_NOFOLLOW) != 0) return errno == ENOENT ? JC_MISSING : -errno;
    switch (information.st_mode & S_IFMT) {
    case S_IFREG: return JC_FILE;
    case S_IFDIR: return JC_FOLDER;
    case S_IFLNK: return JC_LINK;
    case S_IFIFO: return JC_PIPE;
    case S_IFCHR: return information.st_rdev == makedev(0, 0) ? JC_WHITEOUT : JC_OTHER;
    default: return JC_OTHER;
    }
}

int jc_layer_dress(int file, const struct jc_attributes *attributes, int keep_owner) {
    if (!keep_owner && fchown(file, attributes->uid, attributes->gid) != 0) return -errno;
    if (fchmod(file, attributes->mode) != 0) return -errno;
    return jc_layer_set_time(file, attributes->seconds, attributes->nanoseconds);
}

int jc_layer_dress_at(int folder, const char *name, const struct jc_attributes *attributes, int keep_owner) {
    if (!keep_owner && fchownat(folder, name, attributes->uid, attributes->gid, AT_SYMLINK_NOFOLLOW) != 0) return -errno;
    struct timespec times[2] = {{attributes->seconds, attributes->nanoseconds}, {attributes->seconds, attributes->nanoseconds}};
    return result(utimensat(folder, name, times, AT_SYMLINK_NOFOLLOW));
}

int jc_layer_attribute(int file, const char *name, const void *value, size_t size) {
    return result(fsetxattr(file, name, value, size, 0));
}

int jc_layer_time(int file, int64_t *seconds, int64_t *nanoseconds) {
    struct stat information;
    if (fstat(file, &information) != 0) return -errno;
    *seconds = information.st_mtim.tv_sec;
    *nanoseconds = information.st_mtim.tv_nsec;
    return 0;
}

int jc_layer_set_time(int file, int64_t seconds, int64_t nanoseconds) {
    struct timespec times[2] = {{seconds, nanoseconds}, {seconds, nanoseconds}};
    return result(futimens(file, times));
}

/// Moves each folder inside `name` beside it as `name` and a number from `count` on, and unlinks the rest.
static int empty_folder(int folder, const char *name, const char *base, unsigned long *count) {
    int file = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (file == -1 && errno == EACCES && fchmodat(folder, name, 0700, 0) == 0) {
        file = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    if (file < 0) return -errno;
    // Without privileges, what is inside can only be removed from a folder that its owner may write to.
    fchmod(file, 0700);
    DIR *entries = fdopendir(file);
    if (!entries) {
        int error = -errno;
        close(file);
        return error;
    }
    int outcome = 0;
    struct dirent *entry;
    while (outcome == 0 && (errno = 0, entry = readdir(entries))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (unlinkat(file, entry->d_name, 0) == 0) continue;
        if (errno != EISDIR && errno != EPERM) outcome = -errno;
        if (outcome == 0 && unlinkat(file, entry->d_name, AT_REMOVEDIR) == 0) continue;
        char moved[NAME_MAX + 1];
        snprintf(moved, sizeof moved, "%s.%lu", base, *count);
        if (outcome == 0 && renameat(file, entry->d_name, folder, moved) != 0) {
            // To move a folder is to write its "..".
            if (errno != EACCES || fchmodat(file, entry->d_name, 0700, 0) != 0 ||
                renameat(file, entry->d_name, folder, moved) != 0)
                outcome = -errno;
        }
        if (outcome == 0) *count += 1;
    }
    if (outcome == 0 && errno != 0) outcome = -errno;
    closedir(entries);
    return outcome;
}

int jc_layer_remove(int folder, const char *name) {
    if (unlinkat(folder, name, 0) == 0 || errno == ENOENT) return 0;
    if (errno != EISDIR && errno != EPERM) return -errno;
    if (strlen(name) > NAME_MAX - 24) return -ENAMETOOLONG;
    // No recursion and no long paths: a hostile layer may be nested deeper than any stack.
    unsigned long count = 0;
    for (unsigned long next = 0; next <= count; next++) {
        char current[NAME_MAX + 1];
        if (next == 0) {
            snprintf(current, sizeof current, "%s", name);
        } else {
            snprintf(current, sizeof current, "%s.%lu", name, next - 1);
        }
        // A listing that changes under the reader may skip something: look again until nothing is left.
        int outcome = -ENOTEMPTY;
        while (outcome == -ENOTEMPTY) {
            outcome = empty_folder(folder, current, name, &count);
            if (outcome == 0) outcome = result(unlinkat(folder, current, AT_REMOVEDIR));
        }
        if (outcome < 0) return outcome;
    }
    return 0;
}

int jc_layer_unlink(int folder, const char *name) { return result(unlinkat(folder, name, 0)); }

int jc_layer_rename(int from_folder, const char *from, int folder, const char *name) {
    return result(renameat(from_folder, from, folder, name));
}

int jc_layer_sync(int file) { return result(syncfs(file)); }

void jc_start_writing(int file, int64_t offset, int64_t count) {
    (void)sync_file_range(file, offset, count, SYNC_FILE_RANGE_WRITE);
}
