#define _GNU_SOURCE
#include "CLinux.h"
#include "Containers.h"
#include "Namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/prctl.h>
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

pid_t jc_spawn_detached(const char *program, char *const *argv) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&actions, 0, 1);
    posix_spawn_file_actions_adddup2(&actions, 0, 2);
    posix_spawn_file_actions_addclosefrom_np(&actions, 3);
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
    posix_spawn_file_actions_addclosefrom_np(&actions, 4);
    return spawn(program, argv, environment, &actions, 0, 0);
}

pid_t jc_spawn_companion(const char *program, char *const *argv, int fourth) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&actions, 0, 1);
    posix_spawn_file_actions_adddup2(&actions, 0, 2);
    posix_spawn_file_actions_adddup2(&actions, fourth, 3);
    posix_spawn_file_actions_addclosefrom_np(&actions, 4);
    return spawn(program, argv, environ, &actions, 1, 0);
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

// MARK: Process 1

enum { channel = 3 };

/// Whether somebody listens.
static int tell(int32_t kind, int32_t value) {
    struct jc_init_message message = {kind, value};
    ssize_t size;
    while ((size = send(channel, &message, sizeof message, MSG_NOSIGNAL)) < 0 && errno == EINTR) {}
    return size == (ssize_t)sizeof message;
}

/// Replaces the child by the program. The errno that it returns by the pipe is the whole story of a failure.
static void become(char *const *argv, const struct jc_user *user, int failure) {
    struct jc_init_message message = {jc_init_broken, 0};
    if (user) {
        // The init itself stays outside, where the runtime finds it for a second program.
        int result = jc_become_user(user);
        if (result >= 0) result = jc_filter_calls();
        if (result < 0) {
            message.value = -result;
            ssize_t told = write(failure, &message, sizeof message);
            _exit(told == (ssize_t)sizeof message ? 127 : 126);
        }
    }
    sigset_t none;
    sigemptyset(&none);
    for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);
    execvp(argv[0], argv);
    message = (struct jc_init_message){jc_init_failed, errno};
    ssize_t written = write(failure, &message, sizeof message);
    _exit(written == (ssize_t)sizeof message ? 127 : 126);
}

static pid_t start(char *const *argv, const struct jc_user *user) {
    int failure[2];
    if (pipe2(failure, O_CLOEXEC) != 0) {
        tell(jc_init_broken, errno);
        _exit(126);
    }
    pid_t program = fork();
    if (program < 0) {
        tell(jc_init_broken, errno);
        _exit(126);
    }
    if (program == 0) become(argv, user, failure[1]);
    close(failure[1]);
    struct jc_init_message message;
    ssize_t size;
    while ((size = read(failure[0], &message, sizeof message)) < 0 && errno == EINTR) {}
    close(failure[0]);
    if (size == (ssize_t)sizeof message) {
        tell(message.kind, message.value);
        _exit(message.value == ENOENT ? 127 : 126);
    }
    return program;
}

/// The health checks of a service, one after the other until one says that it can be used.
struct probe {
    const struct jc_health *health;
    /// 0 while none runs.
    pid_t process;
    /// When the next one begins, or the one that runs has taken too long; -1 when there is nothing to do any more.
    int64_t moment;
    int is_late;
    int32_t failures;
};

static void end_probe(struct probe *probe, int status) {
    int is_late = probe->is_late;
    // What it started in its group goes with it.
    kill(-probe->process, SIGKILL);
    probe->process = 0;
    probe->is_late = 0;
    probe->moment = -1;
    if (!is_late && WIFEXITED(status) && WEXITSTATUS(status) == 0) tell(jc_init_healthy, 0);
    else if (++probe->failures >= probe->health->retries) tell(jc_init_unhealthy, is_late ? -1 : status);
    else probe->moment = jc_boot_milliseconds() + probe->health->interval;
}

static void keep_time(struct probe *probe) {
    if (probe->moment < 0 || jc_boot_milliseconds() < probe->moment) return;
    if (probe->process > 0) {
        probe->is_late = 1;
        probe->moment = -1;
        kill(-probe->process, SIGKILL);
        kill(probe->process, SIGKILL);
        return;
    }
    probe->moment = jc_boot_milliseconds() + probe->health->timeout;
    probe->process = fork();
    if (probe->process == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        for (int number = 0; null >= 0 && number < 3; number++) dup2(null, number);
        sigset_t none;
        sigemptyset(&none);
        for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
        sigprocmask(SIG_SETMASK, &none, NULL);
        setpgid(0, 0);
        execvp(probe->health->argv[0], probe->health->argv);
        _exit(errno == ENOENT ? 127 : 126);
    }
    if (probe->process < 0) probe->process = 0;
}

/// Ends with the program, after it has told how the program ended.
static void reap(pid_t program, struct probe *probe) {
    int status;
    pid_t process;
    while ((process = waitpid(-1, &status, WNOHANG)) > 0) {
        if (process == probe->process) end_probe(probe, status);
        if (process != program) continue;
        tell(jc_init_ended, status);
        _exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
    }
}

void jc_init_main(char *const *argv, const struct jc_health *health, const struct jc_user *user) {
    prctl(PR_SET_NAME, "jobctl-init", 0, 0, 0);
    // Nobody in the container may look into this process or speak for it.
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    fcntl(channel, F_SETFD, FD_CLOEXEC);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    int signals = signalfd(-1, &all, SFD_NONBLOCK | SFD_CLOEXEC);
    // The filter forbids what the program needs to become the user: then each installs its own.
    int filtered = user ? 0 : jc_filter_calls();
    if (signals < 0 || filtered < 0) {
        tell(jc_init_broken, signals < 0 ? errno : -filtered);
        _exit(126);
    }
    // A program that nobody watches over is not started.
    if (!tell(jc_init_ready, 0)) _exit(137);
    pid_t program = start(argv, user);
    if (user && (filtered = jc_renounce()) < 0) {
        tell(jc_init_broken, -filtered);
        _exit(126);
    }
    struct pollfd wanted[2] = {{.fd = signals, .events = POLLIN}, {.fd = channel}};
    struct probe probe = {.health = health, .moment = -1};
    if (health && health->argv) probe.moment = jc_boot_milliseconds();
    else if (health) tell(jc_init_healthy, 0);
    for (;;) {
        reap(program, &probe);
        keep_time(&probe);
        int64_t left = probe.moment < 0 ? -1 : probe.moment - jc_boot_milliseconds();
        if (poll(wanted, 2, probe.moment < 0 ? -1 : left < 0 ? 0 : left > 60000 ? 60000 : (int)left) < 0) continue;
        // Whoever watched over this container is gone: nobody would record its end.
        if (wanted[1].revents) _exit(137);
        for (int number; (number = jc_signal_next(signals)) != 0;) {
            if (number != SIGCHLD) kill(program, number);
        }
    }
}

void jc_join_main(char *const *argv, const struct jc_user *user) {
    if ((user && jc_become_user(user) < 0) || jc_filter_calls() < 0) _exit(126);
    execvp(argv[0], argv);
    _exit(errno == ENOENT ? 127 : 126);
}
