#define _GNU_SOURCE
#include "CLinux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <malloc.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

// sys/mount.h and linux/mount.h clash in glibc 2.36: the two calls that are needed of it are declared here.
extern int umount2(const char *target, int flags);
extern int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data);
enum { jc_MS_RDONLY = 1, jc_MS_NOSUID = 2, jc_MS_NODEV = 4, jc_MS_REMOUNT = 32, jc_MS_BIND = 4096, jc_MS_PRIVATE = 1 << 18 };
enum { jc_MNT_DETACH = 2, jc_UMOUNT_NOFOLLOW = 8 };

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

/// The identity for file access of this thread only: glibc's setgroups and setresuid would change every thread.
struct identity {
    uid_t uid;
    gid_t gid;
    int changed;
    int group_count;
    gid_t groups[1024];
};

static int assume(struct identity *saved, uid_t uid, gid_t gid) {
    saved->changed = 0;
    if (geteuid() != 0) return 0;
    saved->group_count = getgroups(1024, saved->groups);
    if (saved->group_count < 0) return -errno;
    if (syscall(SYS_setgroups, 0, NULL) != 0) return -errno;
    saved->gid = (gid_t)setfsgid(gid);
    // Leaving 0 drops the capabilities that override permissions, for this thread.
    saved->uid = (uid_t)setfsuid(uid);
    saved->changed = 1;
    if ((uid_t)setfsuid((uid_t)-1) != uid || (gid_t)setfsgid((gid_t)-1) != gid) return -EPERM;
    return 0;
}

static void resume(const struct identity *saved) {
    if (!saved->changed) return;
    setfsuid(saved->uid);
    setfsgid(saved->gid);
    syscall(SYS_setgroups, (size_t)saved->group_count, saved->groups);
}

static int open_strictly(int folder, const char *path, uint64_t flags) {
    struct open_how how;
    memset(&how, 0, sizeof how);
    how.flags = flags | O_CLOEXEC;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;
    long file = syscall(SYS_openat2, folder, path[0] ? path : ".", &how, sizeof how);
    return file < 0 ? -errno : (int)file;
}

/// Makes each missing folder of `path`, one component after the other, never following a link.
static int make_all(int root, const char *path) {
    char part[PATH_MAX];
    size_t length = strlen(path);
    if (length >= sizeof part) return -ENAMETOOLONG;
    int folder = open_strictly(root, ".", O_PATH | O_DIRECTORY);
    if (folder < 0) return folder;
    const char *start = path;
    while (*start) {
        const char *end = strchrnul(start, '/');
        size_t size = (size_t)(end - start);
        memcpy(part, start, size);
        part[size] = 0;
        if (size > 0) {
            int next = open_strictly(folder, part, O_PATH | O_DIRECTORY);
            if (next == -ENOENT) {
                if (mkdirat(folder, part, 0755) != 0 && errno != EEXIST) {
                    int error = -errno;
                    close(folder);
                    return error;
                }
                next = open_strictly(folder, part, O_PATH | O_DIRECTORY);
            }
            close(folder);
            if (next < 0) return next;
            folder = next;
        }
        start = *end ? end + 1 : end;
    }
    close(folder);
    return 0;
}

int jc_open_beneath(int root, const char *path, uid_t uid, gid_t gid, int make_folders, int for_reading) {
    struct identity saved;
    int result = assume(&saved, uid, gid);
    if (result == 0 && make_folders) result = make_all(root, path);
    if (result == 0) result = open_strictly(root, path, for_reading ? O_RDONLY | O_NONBLOCK : O_PATH);
    resume(&saved);
    return result;
}

int jc_lock_alone(const char *path) {
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0) return -errno;
    for (int round = 0; round < 250; round++) {
        if (flock(file, LOCK_EX | LOCK_NB) == 0) return file;
        usleep(20000);
    }
    close(file);
    return -EWOULDBLOCK;
}

int jc_open_strictly(int root, const char *path) { return open_strictly(root, path, O_RDONLY | O_NONBLOCK); }

/// Deletes what lies in `folder`. Folders in it move up into `top` under new names, to be emptied in turn: neither depth nor the
/// number of open files grows with the tree. Counts what was done in `progress`.
static int empty_folder(int folder, int top, dev_t device, unsigned long *serial, unsigned long *progress) {
    int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (copy < 0) return -errno;
    DIR *listing = fdopendir(copy);
    if (!listing) {
        int error = -errno;
        close(copy);
        return error;
    }
    int result = 0;
    for (struct dirent *entry; result == 0 && (entry = readdir(listing));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (unlinkat(folder, entry->d_name, 0) == 0) {
            ++*progress;
            continue;
        }
        if (errno == ENOENT) continue;
        if (errno != EISDIR) {
            result = -errno;
            break;
        }
        if (folder != top) {
            char name[32];
            int error;
            do {
                snprintf(name, sizeof name, ".%lu", ++*serial);
                error = syscall(SYS_renameat2, folder, entry->d_name, top, name, 1 /* RENAME_NOREPLACE */) == 0 ? 0 : errno;
            } while (error == EEXIST);
            if (error == 0) ++*progress; else if (error != ENOENT) result = -error;
            continue;
        }
        if (geteuid() != 0) (void)fchmodat(folder, entry->d_name, 0700, 0);  // an unreadable folder of our own
        int child = openat(folder, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (child < 0) {
            if (errno != ENOENT) result = -errno;
            continue;
        }
        struct stat status;
        if (fstat(child, &status) != 0) result = -errno;
        else if (status.st_dev != device) result = -EXDEV;
        else result = empty_folder(child, top, device, serial, progress);
        close(child);
        if (result == 0 && unlinkat(folder, entry->d_name, AT_REMOVEDIR) == 0) ++*progress;
    }
    closedir(listing);
    return result;
}

int jc_remove_tree(int parent, const char *name) {
    if (geteuid() != 0) (void)fchmodat(parent, name, 0700, 0);
    int top = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (top < 0) {
        if (errno == ENOENT) return 0;
        if (errno == ENOTDIR || errno == ELOOP) return unlinkat(parent, name, 0) == 0 ? 0 : -errno;
        return -errno;
    }
    struct stat status;
    int result = fstat(top, &status) == 0 ? 0 : -errno;
    unsigned long serial = 0;
    while (result == 0) {
        unsigned long progress = 0;
        result = empty_folder(top, top, status.st_dev, &serial, &progress);
        if (progress == 0) break;
    }
    close(top);
    if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT) return 0;
    return result != 0 ? result : -errno;
}

int jc_rename_new(int from_folder, const char *from, int to_folder, const char *to, uid_t uid, gid_t gid) {
    struct identity saved;
    int result = assume(&saved, uid, gid);
    if (result == 0 && syscall(SYS_renameat2, from_folder, from, to_folder, to, 1 /* RENAME_NOREPLACE */) != 0) result = -errno;
    resume(&saved);
    return result;
}

/// For kernels before 5.12, which lack mount_setattr.
static int bind_by_path(int file, const char *target, int read_only) {
    char source[64];
    snprintf(source, sizeof source, "/proc/self/fd/%d", file);
    if (mount(source, target, NULL, jc_MS_BIND, NULL) != 0) return -errno;
    unsigned long flags = jc_MS_REMOUNT | jc_MS_BIND | jc_MS_NOSUID | jc_MS_NODEV | (read_only ? jc_MS_RDONLY : 0);
    if (mount(NULL, target, NULL, flags, NULL) != 0 || mount(NULL, target, NULL, jc_MS_PRIVATE, NULL) != 0) {
        int error = -errno;
        umount2(target, jc_MNT_DETACH);
        return error;
    }
    return 0;
}

int jc_mount_descriptor(int file, const char *target, int read_only) {
    int tree = (int)syscall(SYS_open_tree, file, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    if (tree < 0) return errno == ENOSYS ? bind_by_path(file, target, read_only) : -errno;
    struct mount_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (read_only ? MOUNT_ATTR_RDONLY : 0);
    attributes.propagation = jc_MS_PRIVATE;
    int result = 0;
    if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0) {
        result = errno == ENOSYS ? bind_by_path(file, target, read_only) : -errno;
    } else if (syscall(SYS_move_mount, tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) != 0) {
        result = -errno;
    }
    close(tree);
    return result;
}

int jc_unmount(const char *target) {
    return umount2(target, jc_MNT_DETACH | jc_UMOUNT_NOFOLLOW) == 0 ? 0 : -errno;
}

int64_t jc_boot_milliseconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_BOOTTIME, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

pid_t jc_spawn_daemon(const char *program, char *const *argv, const char *log) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    // An inherited pipe would otherwise stay open for as long as the daemon lives.
    posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    // Signals that this program ignores or handles are the daemon's own business.
    sigset_t all;
    sigfillset(&all);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    pid_t process = 0;
    int error = posix_spawn(&process, program, &actions, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return error == 0 ? process : -error;
}

int64_t jc_birth_milliseconds(const char *path) {
    struct statx file;
    if (statx(AT_FDCWD, path, 0, STATX_BTIME, &file) != 0) return -errno;
    if (!(file.stx_mask & STATX_BTIME)) return -ENODATA;
    return (int64_t)file.stx_btime.tv_sec * 1000 + file.stx_btime.tv_nsec / 1000000;
}

int jc_is_network_folder(const char *path) {
    // Magic numbers of linux/magic.h and of file systems that are not in the kernel's tree.
    static const unsigned int networks[] = {
        0x6969, 0x517B, 0xFF534D42, 0xFE534D42, 0x00C36400, 0x0BD00BD0, 0x01021997,
        0x5346414F, 0x6B414653, 0x47504653, 0x20030528, 0x65735546,
    };
    struct statfs info;
    if (statfs(path, &info) < 0) return -errno;
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++)
        if ((unsigned int)info.f_type == networks[i]) return 1;
    return 0;
}

void jc_share_heaps(int heaps) {
    mallopt(M_ARENA_MAX, heaps);
    mallopt(M_TOP_PAD, 16 << 20);
    // With a pad of one's own these stay small for ever, and each larger array would be mapped and unmapped.
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
}
