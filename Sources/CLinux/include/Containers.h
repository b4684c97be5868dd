// What the process beside each container needs of Linux: locks that name their holder, process descriptors, mounts in a
// namespace of its own, a process with exactly the descriptors that it shall have, and the init inside the container.
// Each returns a result of 0 or more, or -errno.
#pragma once
#include <stdint.h>
#include <sys/types.h>

struct jc_user;

/// Takes the write lock of an open file for this process, without waiting. -EAGAIN or -EACCES if another has it.
int jc_lock(int file);

/// The process that holds the write lock of an open file; 0 if nobody does.
pid_t jc_lock_holder(int file);

int jc_process_open(pid_t process);
int jc_process_signal(int process, int signal);
/// Reaps a child that has ended.
int jc_process_reap(int process);

/// A set of descriptors to wait for.
int jc_watch_open(void);
int jc_watch_add(int watch, int file);
/// The next descriptor of the set that is readable; waits for it. -EINTR may come at any time.
int jc_watch_next(int watch);
/// A descriptor that is readable once `jc_event_set` was called.
int jc_event_open(void);
void jc_event_set(int event);

/// Starts `program` in a session of its own, with every signal blocked, the null device as standard streams and no other
/// open file but `fifth` as descriptor 4, unless that is negative. Returns the process id.
pid_t jc_spawn_detached(const char *program, char *const *argv, int fifth);

/// Starts `program` with exactly these descriptors as 0 to 3, no signal blocked and `environment`. Returns the process id.
/// Every open file but these must be closed by exec. The program may be `/proc/self/fd/4`.
pid_t jc_spawn_with(
    const char *program, char *const *argv, char *const *environment, int input, int output, int errors, int fourth);

/// Starts `program` with every signal blocked, the null device as standard streams, `fourth` as descriptor 3 and `fifth`,
/// unless it is negative, as 4. Returns the process id.
pid_t jc_spawn_companion(const char *program, char *const *argv, int fourth, int fifth);

/// A copy of the program at `path` in memory that nobody can change any more. An OCI runtime that is started from such a file
/// need not protect itself from the container by a copy of its own, which is a sixth of crun's work.
int jc_sealed_copy(const char *path);
/// Whether `file` is such a copy, handed to this process as it began; it is not handed on.
int jc_take_sealed(int file);

/// This process is killed when its parent's thread ends. -ESRCH if nobody reads the pipe at `notice` any more: the parent
/// is gone already.
int jc_die_with_parent(int notice);

/// Orphans of this process's children become its own.
int jc_adopt_orphans(void);
int jc_set_process_name(const char *name);

/// A mount namespace of its own, which learns of the host's unmounts and tells the host nothing.
int jc_leave_mounts(void);
/// `flags` are those of mount(2).
int jc_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data);

/// A descriptor that only names the folder, which must not be a link.
int jc_open_folder(const char *path);

/// A pipe; its reading end does not block.
int jc_pipe(int pair[2]);

/// Makes the folder `path` inside of `root` as if `root` were `/`: what links and `..` say never leads out of it.
int jc_make_folder_in(const char *root, const char *path);

/// A descriptor that is readable when a child ended or somebody asks this process to. Blocks these signals.
int jc_signal_open(void);
/// The next signal, 0 if there is none.
int jc_signal_next(int signals);

/// A timer of the boot-time clock, which counts while the host sleeps.
int jc_timer_open(void);
/// Sets it off at a time of ``jc_boot_milliseconds``; never for a negative one.
int jc_timer_set(int timer, int64_t boot_milliseconds);

/// A pair of connected sockets that keep messages apart.
int jc_socket_pair(int pair[2]);

/// What the init tells over descriptor 3: how far it is.
struct jc_init_message {
    /// `jc_init_ready`, `jc_init_failed`, `jc_init_ended`, `jc_init_broken`, `jc_init_healthy` or `jc_init_unhealthy`.
    int32_t kind;
    /// Of a failure to start the program, and of a broken init: errno. Of an end, and of a health check that failed for
    /// the last time: the status of wait(2), or -1 where it took too long.
    int32_t value;
};
enum {
    jc_init_ready = 1,
    jc_init_failed = 2,
    jc_init_ended = 3,
    jc_init_broken = 4,
    jc_init_healthy = 5,
    jc_init_unhealthy = 6
};

/// How a service's init finds out that its program can be used. Times in milliseconds.
struct jc_health {
    /// NULL: it can be used once it was started.
    char *const *argv;
    int64_t interval;
    int64_t timeout;
    /// How many tries may fail.
    int32_t retries;
};

/// The next message; -EAGAIN if there is none, -EPIPE after the last.
int jc_init_receive(int socket, struct jc_init_message *message);

/// Allows this process and its children only the system calls of an ordinary program, for ever. Returns the length of the filter.
int jc_filter_calls(void);

/// Process 1 of a container: starts the program, passes signals on, reaps, tells over descriptor 3 how the program ended and
/// ends with it. With `health`, tells as well when the program can be used. Ends everything when the other side of
/// descriptor 3 is gone. The program becomes `user` first, unless that is null. Never returns.
void jc_init_main(char *const *argv, const struct jc_health *health, const struct jc_user *user)
    __attribute__((noreturn));

/// As ``jc_init_main`` for root's containers, without the C library: for a process that it has not begun in.
void jc_init_enter(char *const *argv, char *const *environment) __attribute__((noreturn));

/// How ``jc_witness_enter`` ends after a program that ended with exit code 0. That code of a program becomes the next one.
enum { jc_witness_success = 217 };

/// Process 1 of a container that an engine started which we did not write: starts the program, passes signals on, reaps, and
/// ends with it. Never ends with exit code 0, which such an engine may show, after a crash, for an end that it did not see.
void jc_witness_enter(char *const *argv, char *const *environment) __attribute__((noreturn));

/// Of a terminal.
struct jc_window {
    unsigned short rows;
    unsigned short columns;
};

/// Becomes the program, filtered as every program of a container, and `user` before, unless that is null. With `window`,
/// on a terminal of its own (jc_terminal_enter), for which descriptor 3 is the socket. Never returns.
void jc_join_main(char *const *argv, const struct jc_user *user, const struct jc_window *window)
    __attribute__((noreturn));
