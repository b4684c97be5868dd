#define _GNU_SOURCE
#include "CLinux.h"
#include "Containers.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int result(long value) { return value < 0 ? -errno : (int)value; }

int jc_lock(int file) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return result(fcntl(file, F_SETLK, &lock));
}

pid_t jc_lock_holder(int file) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(file, F_GETLK, &lock) != 0) return -errno;
    return lock.l_type == F_UNLCK ? 0 : lock.l_pid;
}

int jc_process_open(pid_t process) { return result(syscall(SYS_pidfd_open, process, 0)); }

int jc_process_signal(int process, int signal) { return result(syscall(SYS_pidfd_send_signal, process, signal, NULL, 0)); }

int jc_process_reap(int process) {
    siginfo_t info;
    return result(waitid((idtype_t)3 /* P_PIDFD */, (id_t)process, &info, WEXITED | WNOHANG));
}

int jc_watch_open(void) { return result(epoll_create1(EPOLL_CLOEXEC)); }

int jc_watch_add(int watch, int file) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = file};
    return result(epoll_ctl(watch, EPOLL_CTL_ADD, file, &event));
}

int jc_watch_next(int watch) {
    struct epoll_event event;
    int count = epoll_wait(watch, &event, 1, -1);
    return count == 1 ? event.data.fd : count < 0 ? -errno : -EINTR;
}

int jc_event_open(void) { return result(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

void jc_event_set(int event) {
    uint64_t one = 1;
    // It can only fail by being set already.
    if (write(event, &one, sizeof one) < 0) return;
}

static pid_t spawn(
    const char *program, char *const *argv, char *const *environment, posix_spawn_file_actions_t *actions,
    int all_blocked, short flags) {
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t all, mask;
    sigfillset(&all);
    if (all_blocked) sigfillset(&mask);
    else sigemptyset(&mask);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setsigmask(&attributes, &mask);
    posix_spawnattr_setflags(&attributes, (short)(flags | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK));
    pid_t process = 0;
    int error = posix_spawn(&process, program, actions, &attributes, argv, environment);
    posix_spawn_file_actions_destroy(actions);
    posix_spawnattr_destroy(&attributes);
    return error == 0 ? process : -error;
}

/// The null device as standard streams, `fourth` as 3 and `fifth` as 4 unless they are negative, and nothing else.
static void hand_over(posix_spawn_file_actions_t *actions, int fourth, int fifth) {
    posix_spawn_file_actions_init(actions);
    posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(actions, 0, 1);
    posix_spawn_file_actions_adddup2(actions, 0, 2);
    if (fifth >= 0) posix_spawn_file_actions_adddup2(actions, fifth, 4);
    if (fourth >= 0) posix_spawn_file_actions_adddup2(actions, fourth, 3);
    else posix_spawn_file_actions_addclose(actions, 3);
    posix_spawn_file_actions_addclosefrom_np(actions, fifth >= 0 ? 5 : 4);
}

pid_t jc_spawn_detached(const char *program, char *const *argv, int fifth) {
    posix_spawn_file_actions_t actions;
    hand_over(&actions, -1, fifth);
    return spawn(program, argv, environ, &actions, 1, POSIX_SPAWN_SETSID);
}

pid_t jc_spawn_with(
    const char *program, char *const *argv, char *const *environment, int input, int output, int errors, int fourth) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input, 0);
    posix_spawn_file_actions_adddup2(&actions, output, 1);
    posix_spawn_file_actions_adddup2(&actions, errors, 2);
    posix_spawn_file_actions_adddup2(&actions, fourth, 3);
    // 4 may be the program itself; it is closed when the program begins.
    posix_spawn_file_actions_addclosefrom_np(&actions, 5);
    return spawn(program, argv, environment, &actions, 0, 0);
}

pid_t jc_spawn_companion(const char *program, char *const *argv, int fourth, int fifth) {
    posix_spawn_file_actions_t actions;
    hand_over(&actions, fourth, fifth);
    return spawn(program, argv, environ, &actions, 1, 0);
}

// MARK: A program in memory

enum { every_seal = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

static int copy_into(int memory, const char *path) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return -errno;
    ssize_t size;
    while ((size = sendfile(memory, file, NULL, 1 << 24)) > 0 || (size < 0 && errno == EINTR)) {}
    int error = size < 0 ? -errno : 0;
    close(file);
    if (error < 0) return error;
    return result(fcntl(memory, F_ADD_SEALS, every_seal));
}

int jc_sealed_copy(const char *path) {
    const unsigned executable = 0x10;  // MFD_EXEC, of Linux 6.3
    int memory = memfd_create("jobctl-runtime", MFD_CLOEXEC | MFD_ALLOW_SEALING | executable);
    if (memory < 0) memory = memfd_create("jobctl-runtime", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (memory < 0) return -errno;
    int copied = copy_into(memory, path);
    char name[32];
    snprintf(name, sizeof name, "/proc/self/fd/%d", memory);
    // What is open for writing is not executed.
    int file = copied < 0 ? copied : result(open(name, O_RDONLY | O_CLOEXEC));
    close(memory);
    return file;
}

int jc_take_sealed(int file) {
    if (fcntl(file, F_GET_SEALS) != every_seal) return 0;
    return fcntl(file, F_SETFD, FD_CLOEXEC) == 0;
}

int jc_die_with_parent(int notice) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || fcntl(notice, F_SETFD, FD_CLOEXEC) != 0) return -errno;
    struct pollfd reader = {.fd = notice};
    if (poll(&reader, 1, 0) < 0) return -errno;
    return reader.revents ? -ESRCH : 0;
}

int jc_adopt_orphans(void) { return result(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)); }

int jc_set_process_name(const char *name) { return result(prctl(PR_SET_NAME, name, 0, 0, 0)); }

int jc_leave_mounts(void) {
    if (unshare(CLONE_NEWNS) != 0) return -errno;
    return result(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL));
}

int jc_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data) {
    return result(mount(source, target, type, flags, data));
}

int jc_open_folder(const char *path) {
    return result(open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

int jc_pipe(int pair[2]) {
    if (pipe2(pair, O_CLOEXEC) != 0) return -errno;
    return result(fcntl(pair[0], F_SETFL, O_NONBLOCK));
}

static int open_in(int root, const char *path) {
    struct open_how how = {
        .flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    return result(syscall(SYS_openat2, root, path, &how, sizeof how));
}

int jc_make_folder_in(const char *root, const char *path) {
    char prefix[PATH_MAX];
    size_t length = strlen(path);
    if (length >= sizeof prefix) return -ENAMETOOLONG;
    int top = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (top < 0) return -errno;
    int parent = open_in(top, "/");
    for (size_t start = 0; parent >= 0 && start < length;) {
        size_t end = start;
        while (end < length && path[end] != '/') end++;
        memcpy(prefix, path, end);
        prefix[end] = 0;
        if (end > start) {
            int next = open_in(top, prefix);
            if (next == -ENOENT) {
                // The parent was found inside of the root; what is made is one name in it.
                next = mkdirat(parent, prefix + start, 0755) == 0 || errno == EEXIST ? open_in(top, prefix) : -errno;
            }
            close(parent);
            parent = next;
        }
        start = end + 1;
    }
    close(top);
    if (parent < 0) return parent;
    close(parent);
    return 0;
}

int jc_signal_open(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGQUIT);
    if (sigprocmask(SIG_SETMASK, &set, NULL) != 0) return -errno;
    signal(SIGPIPE, SIG_IGN);
    return result(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
}

int jc_signal_next(int signals) {
    struct signalfd_siginfo info;
    return read(signals, &info, sizeof info) == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

int jc_timer_open(void) { return result(timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC)); }

int jc_timer_set(int timer, int64_t boot_milliseconds) {
    struct itimerspec time = {0};
    if (boot_milliseconds >= 0) {
        time.it_value.tv_sec = boot_milliseconds / 1000;
        // All zero would switch it off.
        time.it_value.tv_nsec = boot_milliseconds % 1000 * 1000000 + 1;
    }
    return result(timerfd_settime(timer, TFD_TIMER_ABSTIME, &time, NULL));
}

int jc_socket_pair(int pair[2]) { return result(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)); }

int jc_init_receive(int socket, struct jc_init_message *message) {
    ssize_t size = recv(socket, message, sizeof *message, MSG_DONTWAIT);
    if (size < 0) return errno == EINTR ? -EAGAIN : -errno;
    return size == (ssize_t)sizeof *message ? 0 : -EPIPE;
}
