// The init of a container: process 1, or what a second program in it begins as.
#define _GNU_SOURCE
#include "CLinux.h"
#include "Containers.h"
#include "Namespaces.h"
#include "RawCalls.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

BEGIN_RAW

enum { channel = 3, signal_count = 64, set_size = 8 };

// MARK: Leaves

/// Whether somebody listens.
static int tell(int32_t kind, int32_t value) {
    struct jc_init_message message;
    message.kind = kind;
    message.value = value;
    long size;
    do size = raw_call(SYS_sendto, channel, (long)&message, sizeof message, MSG_NOSIGNAL, 0, 0);
    while (size == -EINTR);
    return size == sizeof message;
}

static void __attribute__((noreturn)) give_up(int32_t error) {
    tell(jc_init_broken, error);
    raw_exit(126);
}

static int64_t now(void) {
    struct timespec time;
    raw2(SYS_clock_gettime, CLOCK_BOOTTIME, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static void send_signal(pid_t process, int number) { raw2(SYS_kill, process, number); }

/// All or none.
static void block_signals(int all) {
    uint64_t set = all ? ~(uint64_t)0 : 0;
    raw4(SYS_rt_sigprocmask, SIG_SETMASK, &set, NULL, set_size);
}

static pid_t fork_self(void) { return (pid_t)raw5(SYS_clone, SIGCHLD, 0, 0, 0, 0); }

// MARK: Starting a program

/// The value of a variable, `name` with its equals sign; NULL if it is not set.
static const char *variable(char *const *environment, const char *name) {
    for (; *environment; environment++) {
        size_t at = 0;
        while (name[at] && (*environment)[at] == name[at]) at++;
        if (!name[at]) return *environment + at;
    }
    return NULL;
}

/// Becomes the file at `path`. Returns the errno.
static int become_file(const char *path, char *const *argv, char *const *environment) {
    int error = (int)-raw3(SYS_execve, path, argv, environment);
    if (error != ENOEXEC) return error;
    // A script without a first line that names its shell, as execvp(3) takes it.
    size_t count = 0;
    while (argv[count]) count++;
    const char *words[count + 2];
    words[0] = "/bin/sh";
    words[1] = path;
    for (size_t at = 1; at <= count; at++) words[at + 1] = argv[at];
    return (int)-raw3(SYS_execve, words[0], words, environment);
}

/// Becomes the program, which is looked for as execvp(3) does. Returns the errno.
static int become_program(char *const *argv, char *const *environment) {
    const char *name = argv[0];
    size_t length = 0;
    int has_slash = 0;
    for (; name[length]; length++) has_slash |= name[length] == '/';
    if (length == 0) return ENOENT;
    if (has_slash) return become_file(name, argv, environment);
    if (length > NAME_MAX) return ENAMETOOLONG;
    const char *path = variable(environment, "PATH=");
    if (!path) path = "/bin:/usr/bin";
    char file[PATH_MAX];
    int was_denied = 0;
    for (;; path++) {
        size_t end = 0;
        for (; *path && *path != ':'; path++) {
            if (end < sizeof file) file[end] = *path;
            end++;
        }
        if (end + length + 2 <= sizeof file) {
            if (end > 0) file[end++] = '/';
            for (size_t at = 0; at <= length; at++) file[end + at] = name[at];
            int error = become_file(file, argv, environment);
            switch (error) {
            case EACCES: was_denied = 1; break;
            case ENOENT:
            case ENOTDIR:
            case ESTALE:
            case ENODEV:
            case ETIMEDOUT: break;
            default: return error;
            }
        }
        if (!*path) return was_denied ? EACCES : ENOENT;
    }
}

/// As a program that was started by nobody special finds itself.
static void prepare_child(void) {
    // A handler of SIG_DFL, and nothing else.
    uint64_t action[4];
    for (int place = 0; place < 4; place++) action[place] = 0;
    for (int number = 1; number <= signal_count; number++) raw4(SYS_rt_sigaction, number, action, NULL, set_size);
    block_signals(0);
    raw2(SYS_setpgid, 0, 0);
}

/// Replaces the child by the program. What it writes into the pipe is the whole story of a failure.
static void become(char *const *argv, char *const *environment, const struct jc_user *user, int failure) {
    struct jc_init_message message;
    message.kind = jc_init_broken;
    // The init itself stays outside, where the runtime finds it for a second program.
    int result = user ? jc_become_user(user) : 0;
    if (user && result >= 0) result = jc_filter_calls();
    if (result < 0) {
        message.value = -result;
    } else {
        prepare_child();
        message.value = become_program(argv, environment);
        message.kind = jc_init_failed;
    }
    raw_exit(raw3(SYS_write, failure, &message, sizeof message) == sizeof message ? 127 : 126);
}

/// Tells of a program that was not started, and ends.
typedef void (*complaint)(struct jc_init_message message);

static void report(struct jc_init_message message) {
    if (message.kind == jc_init_broken) give_up(message.value);
    tell(message.kind, message.value);
    raw_exit(message.value == ENOENT ? 127 : 126);
}

static pid_t start(
    char *const *argv, char *const *environment, const struct jc_user *user, complaint complain) {
    struct jc_init_message message;
    message.kind = jc_init_broken;
    int failure[2];
    message.value = (int32_t)-raw2(SYS_pipe2, failure, O_CLOEXEC);
    if (message.value > 0) complain(message);
    pid_t program = fork_self();
    message.value = -program;
    if (program < 0) complain(message);
    if (program == 0) become(argv, environment, user, failure[1]);
    raw1(SYS_close, failure[1]);
    long size;
    do size = raw3(SYS_read, failure[0], &message, sizeof message);
    while (size == -EINTR);
    raw1(SYS_close, failure[0]);
    if (size == sizeof message) complain(message);
    return program;
}

// MARK: A service's health

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
    send_signal(-probe->process, SIGKILL);
    probe->process = 0;
    probe->is_late = 0;
    probe->moment = -1;
    if (!is_late && WIFEXITED(status) && WEXITSTATUS(status) == 0) tell(jc_init_healthy, 0);
    else if (++probe->failures >= probe->health->retries) tell(jc_init_unhealthy, is_late ? -1 : status);
    else probe->moment = now() + probe->health->interval;
}

static void keep_time(struct probe *probe, char *const *environment) {
    if (probe->moment < 0 || now() < probe->moment) return;
    if (probe->process > 0) {
        probe->is_late = 1;
        probe->moment = -1;
        send_signal(-probe->process, SIGKILL);
        send_signal(probe->process, SIGKILL);
        return;
    }
    probe->moment = now() + probe->health->timeout;
    probe->process = fork_self();
    if (probe->process == 0) {
        int null = (int)raw4(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);
        for (int number = 0; null >= 0 && number < 3; number++) raw3(SYS_dup3, null, number, 0);
        prepare_child();
        raw_exit(become_program(probe->health->argv, environment) == ENOENT ? 127 : 126);
    }
    if (probe->process < 0) probe->process = 0;
}

// MARK: Process 1

/// Ends with the program, after it has told how the program ended.
static void reap(pid_t program, struct probe *probe) {
    int status;
    pid_t process;
    while ((process = (pid_t)raw4(SYS_wait4, -1, &status, WNOHANG, NULL)) > 0) {
        if (process == probe->process) end_probe(probe, status);
        if (process != program) continue;
        tell(jc_init_ended, status);
        raw_exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
    }
}

static void pass_on(int signals, pid_t program) {
    struct signalfd_siginfo info;
    while (raw3(SYS_read, signals, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo != SIGCHLD) send_signal(program, (int)info.ssi_signo);
    }
}

static void __attribute__((noreturn)) be_init(
    char *const *argv, char *const *environment, const struct jc_health *health, const struct jc_user *user) {
    raw2(SYS_prctl, PR_SET_NAME, "jobctl-init");
    // Nobody in the container may look into this process or speak for it.
    raw2(SYS_prctl, PR_SET_DUMPABLE, 0);
    raw3(SYS_fcntl, channel, F_SETFD, FD_CLOEXEC);
    block_signals(1);
    uint64_t all = ~(uint64_t)0;
    int signals = (int)raw4(SYS_signalfd4, -1, &all, set_size, SFD_NONBLOCK | SFD_CLOEXEC);
    // The filter forbids what the program needs to become the user: then each installs its own.
    int filtered = user ? 0 : jc_filter_calls();
    if (signals < 0 || filtered < 0) give_up(signals < 0 ? -signals : -filtered);
    // A program that nobody watches over is not started.
    if (!tell(jc_init_ready, 0)) raw_exit(137);
    pid_t program = start(argv, environment, user, report);
    if (user && (filtered = jc_renounce()) < 0) give_up(-filtered);
    struct pollfd wanted[2];
    wanted[0].fd = signals;
    wanted[0].events = POLLIN;
    wanted[1].fd = channel;
    wanted[1].events = 0;
    struct probe probe;
    probe.health = health;
    probe.process = 0;
    probe.moment = health && health->argv ? now() : -1;
    probe.is_late = 0;
    probe.failures = 0;
    if (health && !health->argv) tell(jc_init_healthy, 0);
    for (;;) {
        reap(program, &probe);
        keep_time(&probe, environment);
        int64_t left = probe.moment < 0 ? 0 : probe.moment - now();
        if (left < 0) left = 0;
        struct timespec time;
        time.tv_sec = left / 1000;
        time.tv_nsec = left % 1000 * 1000000;
        if (raw5(SYS_ppoll, wanted, 2, probe.moment < 0 ? NULL : &time, NULL, 0) < 0) continue;
        // Whoever watched over this container is gone: nobody would record its end.
        if (wanted[1].revents) raw_exit(137);
        pass_on(signals, program);
    }
}

void jc_init_enter(char *const *argv, char *const *environment) { be_init(argv, environment, NULL, NULL); }

// MARK: Process 1 of an engine's container

/// Nobody listens at descriptor 3: the reason goes to the standard error stream, as one line.
static void complain(struct jc_init_message message) {
    static const char words[] = "jobctl-init: exec failed: errno ";
    char line[sizeof words + 12];
    size_t length = 0;
    for (; words[length]; length++) line[length] = words[length];
    if (message.value >= 100) line[length++] = (char)('0' + message.value / 100 % 10);
    if (message.value >= 10) line[length++] = (char)('0' + message.value / 10 % 10);
    line[length++] = (char)('0' + message.value % 10);
    line[length++] = '\n';
    raw3(SYS_write, 2, line, length);
    raw_exit(message.value == ENOENT ? 127 : 126);
}

static int witnessed(int status) {
    int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    if (code == 0) return jc_witness_success;
    return code == jc_witness_success ? code + 1 : code;
}

void jc_witness_enter(char *const *argv, char *const *environment) {
    raw2(SYS_prctl, PR_SET_NAME, "jobctl-init");
    raw2(SYS_prctl, PR_SET_DUMPABLE, 0);
    block_signals(1);
    uint64_t all = ~(uint64_t)0;
    int signals = (int)raw4(SYS_signalfd4, -1, &all, set_size, SFD_CLOEXEC);
    if (signals < 0) raw_exit(126);
    pid_t program = start(argv, environment, NULL, complain);
    for (;;) {
        int status;
        pid_t process;
        while ((process = (pid_t)raw4(SYS_wait4, -1, &status, WNOHANG, NULL)) > 0) {
            if (process == program) raw_exit(witnessed(status));
        }
        struct signalfd_siginfo info;
        if (raw3(SYS_read, signals, &info, sizeof info) != sizeof info) continue;
        if (info.ssi_signo != SIGCHLD) send_signal(program, (int)info.ssi_signo);
    }
}

END_RAW

void jc_init_main(char *const *argv, const struct jc_health *health, const struct jc_user *user) {
    be_init(argv, environ, health, user);
}

void jc_join_main(char *const *argv, const struct jc_user *user, const struct jc_window *window) {
    if (user && jc_become_user(user) < 0) _exit(126);
    if (window && jc_terminal_enter(channel, window->rows, window->columns) < 0) _exit(126);
    if (jc_filter_calls() < 0) _exit(126);
    execvp(argv[0], argv);
    _exit(errno == ENOENT ? 127 : 126);
}
