// File operations of the layer store, all relative to a descriptor of a folder and never through a symbolic link.
// Each returns a result of 0 or more, or -errno. `name` is one path component, `path` any number of them below the root.
#pragma once
#include <stdint.h>
#include <sys/types.h>

/// What an entry is to look like in the end.
struct jc_attributes {
    uid_t uid;
    gid_t gid;
    mode_t mode;
    int64_t seconds;
    int64_t nanoseconds;
};

/// Opens a folder (O_RDONLY) below `root`; an empty path is the root itself. -ELOOP if a link is on the way.
int jc_layer_folder(int root, const char *path);
/// The same, making what is missing with mode 0755 and the time 0; the times of the folders above stay.
int jc_layer_make_folders(int root, const char *path);
/// Makes a file that was not there and opens it for writing.
int jc_layer_make_file(int folder, const char *name);
/// Makes a folder that was not there, mode 0700.
int jc_layer_make_folder(int folder, const char *name);
int jc_layer_make_link(int folder, const char *name, const char *target);
int jc_layer_make_pipe(int folder, const char *name, mode_t mode);
/// Makes overlayfs's whiteout: a character device 0/0, for which Linux 5.8 asks no privilege.
int jc_layer_make_whiteout(int folder, const char *name);
int jc_layer_make_hard_link(int from_folder, const char *from, int folder, const char *name);

enum jc_kind { JC_MISSING, JC_FILE, JC_FOLDER, JC_LINK, JC_PIPE, JC_WHITEOUT, JC_OTHER };
/// What stands at `name`: one of `jc_kind`.
int jc_layer_kind(int folder, const char *name);

/// Sets owner (unless `keep_owner`), mode and time of an open file or folder.
int jc_layer_dress(int file, const struct jc_attributes *attributes, int keep_owner);
/// The same for a link (its mode is not set) or a pipe.
int jc_layer_dress_at(int folder, const char *name, const struct jc_attributes *attributes, int keep_owner);
int jc_layer_attribute(int file, const char *name, const void *value, size_t size);

/// The modification time of an open folder, and putting it back.
int jc_layer_time(int file, int64_t *seconds, int64_t *nanoseconds);
int jc_layer_set_time(int file, int64_t seconds, int64_t nanoseconds);

/// Removes `name` with everything in it, however deep: `folder` is used as the heap for what is inside, under names that
/// begin with `name`. One that is missing is fine.
int jc_layer_remove(int folder, const char *name);
/// Removes a file, link, pipe or whiteout.
int jc_layer_unlink(int folder, const char *name);
int jc_layer_rename(int from_folder, const char *from, int folder, const char *name);
/// Writes the whole file system of `file` to disk.
int jc_layer_sync(int file);
/// Lets the disk begin to write a part of a file. Promises nothing: a sync does.
void jc_start_writing(int file, int64_t offset, int64_t count);
