// Linux calls that Glibc's Swift module does not offer, or that must happen on one thread without a Swift suspension between them.
// Each returns a result of 0 or more, or -errno.
#pragma once
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/types.h>

#include "Containers.h"
#include "Networks.h"
#include "Terminals.h"

/// Opens `path` below `root` as uid:gid: no symbolic links, no way above the root, none of the caller's privileges.
/// With `make_folders`, missing folders of the path are made (mode 0755) as that user first.
/// The descriptor is O_PATH unless `for_reading`.
int jc_open_beneath(int root, const char *path, uid_t uid, gid_t gid, int make_folders, int for_reading);

/// Opens the file at `path`, made if it is not there, and takes its lock, which the kernel lets go when the process ends,
/// however it ends. Waits up to five seconds: who was killed holds a lock until the disk has answered each of its threads.
/// -EWOULDBLOCK if another keeps it. Returns the open file.
int jc_lock_alone(const char *path);

/// Opens `path` below `root` for reading, with the caller's own privileges: no symbolic links, no way above the root.
int jc_open_strictly(int root, const char *path);

/// Removes the folder `name` and all that is in it. Follows no link, enters no other file system, and needs two open files
/// however deep the tree is. One that is not there is fine.
int jc_remove_tree(int parent, const char *name);

/// Renames as uid:gid; an existing target is never replaced (-EEXIST).
int jc_rename_new(int from_folder, const char *from, int to_folder, const char *to, uid_t uid, gid_t gid);

/// Mounts what `file` refers to at `target`: private, nosuid, nodev, and read-only if asked.
int jc_mount_descriptor(int file, const char *target, int read_only);

/// Detaches the mount at `target`, which must not be a symbolic link.
int jc_unmount(const char *target);

/// Milliseconds of CLOCK_BOOTTIME.
int64_t jc_boot_milliseconds(void);

/// Starts `program` in a session of its own, with input from /dev/null, output appended to `log`, and no other open file.
/// Returns the process id.
pid_t jc_spawn_daemon(const char *program, char *const *argv, const char *log);

/// Lets all threads share so many heaps, the first of which grows by megabytes: a thread's own heap grows by a page and a
/// system call at a time. Only before there are other threads.
void jc_share_heaps(int heaps);

/// When the file at `path` was made, in milliseconds since 1970 UTC, or -errno. -ENODATA where the file system does not say.
int64_t jc_birth_milliseconds(const char *path);

/// 1 if the files below `path` come over a network (NFS, SMB, Ceph, Lustre, 9P, AFS, GPFS, OrangeFS, FUSE), else 0, or -errno.
int jc_is_network_folder(const char *path);

#include "LayerFiles.h"
#include "Namespaces.h"
