#define _GNU_SOURCE
#include "Namespaces.h"
#include "CLinux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static int put(const char *path, const char *text) {
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0) return -errno;
    ssize_t length = (ssize_t)strlen(text);
    int result = write(file, text, (size_t)length) == length ? 0 : -errno;
    close(file);
    return result;
}

/// One user and one group; the kernel asks for no privilege if nobody can change groups.
static int map_one(uid_t inner_user, uid_t outer_user, gid_t inner_group, gid_t outer_group) {
    char text[64];
    int result = put("/proc/self/setgroups", "deny");
    if (result < 0) return result;
    snprintf(text, sizeof text, "%u %u 1", inner_user, outer_user);
    if ((result = put("/proc/self/uid_map", text)) < 0) return result;
    snprintf(text, sizeof text, "%u %u 1", inner_group, outer_group);
    return put("/proc/self/gid_map", text);
}

// MARK: The runner's

static int run_mapper(const char *program, pid_t process, uint32_t self, struct jc_id_range range) {
    char target[16], own[16], start[16], count[16];
    snprintf(target, sizeof target, "%d", process);
    snprintf(own, sizeof own, "%u", self);
    snprintf(start, sizeof start, "%u", range.start);
    snprintf(count, sizeof count, "%u", range.count);
    pid_t child = fork();
    if (child < 0) return -errno;
    if (child == 0) {
        char *const argv[] = {(char *)program, target, "0", own, "1", "1", start, count, NULL};
        char *const environment[] = {NULL};
        execve(program, argv, environment);
        _exit(127);
    }
    int status;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPERM;
}

/// The mapping programs count for something only outside of the namespace: a child stays there and starts them.
static int map_ranges(
    const char *newuidmap, const char *newgidmap, struct jc_id_range users, struct jc_id_range groups, uid_t user,
    gid_t group) {
    int begin[2];
    if (pipe2(begin, O_CLOEXEC) != 0) return -errno;
    pid_t process = getpid(), helper = fork();
    if (helper < 0) return -errno;
    if (helper == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        char byte;
        close(begin[1]);
        if (read(begin[0], &byte, 1) != 1) _exit(1);
        int result = run_mapper(newuidmap, process, user, users);
        if (result == 0) result = run_mapper(newgidmap, process, group, groups);
        _exit(result == 0 ? 0 : 1);
    }
    close(begin[0]);
    int result = unshare(CLONE_NEWUSER) == 0 ? 0 : -errno;
    if (result == 0 && write(begin[1], "", 1) != 1) result = -errno;
    close(begin[1]);
    int status = 0;
    while (waitpid(helper, &status, 0) < 0 && errno == EINTR) {}
    if (result == 0 && !(WIFEXITED(status) && WEXITSTATUS(status) == 0)) result = -EPERM;
    if (result == 0 && setgroups(0, NULL) != 0) result = -errno;
    return result;
}

int jc_enter_user_namespace(
    const char *newuidmap, const char *newgidmap, struct jc_id_range users, struct jc_id_range groups) {
    uid_t user = geteuid();
    gid_t group = getegid();
    if (users.count > 0 && groups.count > 0) return map_ranges(newuidmap, newgidmap, users, groups, user, group);
    if (unshare(CLONE_NEWUSER) != 0) return -errno;
    return map_one(0, user, 0, group);
}

// MARK: The container's process

static int hold_nothing(void) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct nothing[2];
    memset(nothing, 0, sizeof nothing);
    return syscall(SYS_capset, &header, nothing) == 0 ? 0 : -errno;
}

static int drop_capabilities(void) {
    for (int capability = 0; capability < 64; capability++) {
        // Beyond the last one that the kernel knows there is nothing to drop.
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) {
            if (errno == EINVAL && capability > 0) break;
            return -errno;
        }
    }
    return hold_nothing();
}

int jc_become_user(const struct jc_user *user) {
    uid_t outer_user = geteuid();
    gid_t outer_group = getegid();
    if (user->uid == 0 || user->gid == 0) return -EINVAL;
    if (unshare(CLONE_NEWUSER) != 0) return -errno;
    // A child of the init may be looked into as little as the init, and then its maps would not be its own to write.
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    int result = map_one(user->uid, outer_user, user->gid, outer_group);
    if (result < 0) return result;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NPROC, &limit) != 0) return -errno;
    if (limit.rlim_max > user->processes) limit.rlim_max = user->processes;
    limit.rlim_cur = limit.rlim_max;
    // The kernel counts a user's processes in each user namespace apart (Linux 5.14).
    if (setrlimit(RLIMIT_NPROC, &limit) != 0) return -errno;
    return drop_capabilities();
}

int jc_renounce(void) {
    int result = hold_nothing();
    return result < 0 ? result : jc_filter_calls();
}

// MARK: Volumes

int jc_mount_beneath(const char *root, const char *path, const char *target, int read_only) {
    int top = open(root, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (top < 0) return -errno;
    struct open_how how;
    memset(&how, 0, sizeof how);
    how.flags = O_PATH | O_CLOEXEC;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;
    int found = (int)syscall(SYS_openat2, top, path[0] ? path : ".", &how, sizeof how);
    int result = found < 0 ? -errno : 0;
    close(top);
    if (result < 0) return result;
    struct stat status;
    if (fstat(found, &status) != 0) {
        result = -errno;
    } else if (S_ISDIR(status.st_mode)) {
        result = mkdir(target, 0755) == 0 ? 0 : -errno;
    } else if (S_ISREG(status.st_mode)) {
        int file = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        result = file < 0 ? -errno : close(file);
    } else {
        result = -EINVAL;
    }
    if (result == 0) result = jc_mount_descriptor(found, target, read_only);
    close(found);
    return result;
}

// MARK: A root without overlayfs

enum { deepest_folder = 400 };

static int link_folder(int layer, int target, int depth);

/// What stood there before makes way. A folder stays if a folder comes, unless what comes hides what is below.
static int make_way(int target, const char *name, int for_folder) {
    int kind = jc_layer_kind(target, name);
    if (kind == JC_MISSING || (for_folder && kind == JC_FOLDER)) return 0;
    return kind < 0 ? kind : jc_layer_remove(target, name);
}

static int link_child(int layer, int target, const char *name, int depth) {
    struct stat status;
    int from = openat(layer, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (from < 0) return -errno;
    char opaque = 0;
    int hides = fgetxattr(from, "user.overlay.opaque", &opaque, 1) == 1 && opaque == 'y';
    int result = fstat(from, &status) == 0 ? 0 : -errno;
    if (result == 0) result = make_way(target, name, !hides);
    if (result == 0 && mkdirat(target, name, 0700) != 0 && errno != EEXIST) result = -errno;
    int to = result == 0 ? openat(target, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
    if (result == 0 && to < 0) result = -errno;
    if (result == 0) result = link_folder(from, to, depth + 1);
    if (result == 0 && fchmod(to, status.st_mode & 07777) != 0) result = -errno;
    struct timespec times[2] = {status.st_atim, status.st_mtim};
    if (result == 0 && futimens(to, times) != 0) result = -errno;
    if (to >= 0) close(to);
    close(from);
    return result;
}

static int link_folder(int layer, int target, int depth) {
    if (depth > deepest_folder) return -ENAMETOOLONG;
    int copy = openat(layer, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (copy < 0) return -errno;
    DIR *entries = fdopendir(copy);
    if (!entries) {
        int error = -errno;
        close(copy);
        return error;
    }
    int result = 0;
    struct dirent *entry;
    while (result >= 0 && (errno = 0, entry = readdir(entries))) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
        int kind = jc_layer_kind(layer, name);
        switch (kind) {
        case JC_FOLDER: result = link_child(layer, target, name, depth); break;
        case JC_WHITEOUT: result = jc_layer_remove(target, name); break;
        default:
            result = kind < 0 ? kind : make_way(target, name, 0);
            if (result >= 0) result = jc_layer_make_hard_link(layer, name, target, name);
        }
    }
    if (result >= 0 && errno != 0) result = -errno;
    closedir(entries);
    return result < 0 ? result : 0;
}

int jc_link_layer(int layer, int target) { return link_folder(layer, target, 0); }
