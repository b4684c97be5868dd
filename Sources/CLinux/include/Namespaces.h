// What a runner without root needs of Linux: a user namespace in which it may mount, volumes that are found and mounted in one
// step, an image's root without overlayfs, and a container's process that is nobody's root. Each returns a result of 0 or more,
// or -errno.
#pragma once
#include <stdint.h>
#include <sys/types.h>

/// A range of ids that are the caller's to give away (/etc/subuid, /etc/subgid). A count of 0 is none.
struct jc_id_range {
    uint32_t start;
    uint32_t count;
};

/// Moves this process, which must have one thread, into a user namespace of its own, where its user and group are 0. With ranges,
/// they follow as 1, 2, …; `newuidmap` and `newgidmap` are the programs that may write that down, and supplementary groups are
/// dropped. Without, nobody else exists there, and supplementary groups stay.
int jc_enter_user_namespace(
    const char *newuidmap, const char *newgidmap, struct jc_id_range users, struct jc_id_range groups);

/// Who a container's program is to be.
struct jc_user {
    uid_t uid;
    gid_t gid;
    /// How many processes it may have.
    uint64_t processes;
};

/// Inside a container of such a namespace: moves this process into a further one, in which it is this user and root does not
/// exist, drops every capability there, and limits the number of processes in it.
int jc_become_user(const struct jc_user *user);

/// For the container's init, which stays: gives its capabilities up, and allows itself an ordinary program's system calls only.
int jc_renounce(void);

/// Finds `path` below the folder `root`, without following a link or leaving it, and mounts what was found at `target`, which is
/// made: private, nosuid, nodev, and read-only if asked.
int jc_mount_beneath(const char *root, const char *path, const char *target, int read_only);

/// Lays an unpacked layer (whiteouts and all) over what is in `target`, by hard links: both lie on one file system.
int jc_link_layer(int layer, int target);
