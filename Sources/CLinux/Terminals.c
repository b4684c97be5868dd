#define _GNU_SOURCE
#include "Terminals.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

static int result(long value) { return value < 0 ? -errno : (int)value; }

int jc_terminal_open(char *path, int size) {
    int ours = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (ours < 0) return -errno;
    struct termios settings;
    int error = 0;
    if (grantpt(ours) != 0 || unlockpt(ours) != 0 || tcgetattr(ours, &settings) != 0) error = errno;
    if (error == 0) error = ptsname_r(ours, path, (size_t)size);
    if (error == 0) {
        cfmakeraw(&settings);
        if (tcsetattr(ours, TCSANOW, &settings) != 0 || fcntl(ours, F_SETFL, O_RDWR | O_NONBLOCK) != 0) error = errno;
    }
    if (error == 0) return ours;
    close(ours);
    return -error;
}

int jc_terminal_resize(int terminal, unsigned short rows, unsigned short columns) {
    struct winsize size = {.ws_row = rows, .ws_col = columns};
    return result(ioctl(terminal, TIOCSWINSZ, &size));
}

/// A message of one byte that carries one file.
struct parcel {
    char byte;
    struct iovec content;
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    struct msghdr message;
};

static void pack(struct parcel *parcel) {
    memset(parcel, 0, sizeof *parcel);
    parcel->content = (struct iovec){&parcel->byte, 1};
    parcel->message = (struct msghdr){
        .msg_iov = &parcel->content,
        .msg_iovlen = 1,
        .msg_control = parcel->control,
        .msg_controllen = sizeof parcel->control};
}

static int give_file(int socket, int file) {
    struct parcel parcel;
    pack(&parcel);
    struct cmsghdr *header = CMSG_FIRSTHDR(&parcel.message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof file);
    memcpy(CMSG_DATA(header), &file, sizeof file);
    return result(sendmsg(socket, &parcel.message, MSG_NOSIGNAL));
}

static int receive_file(int socket) {
    struct parcel parcel;
    pack(&parcel);
    ssize_t size = recvmsg(socket, &parcel.message, MSG_CMSG_CLOEXEC);
    if (size < 0) return -errno;
    struct cmsghdr *header = CMSG_FIRSTHDR(&parcel.message);
    if (!header || header->cmsg_type != SCM_RIGHTS || header->cmsg_len != CMSG_LEN(sizeof(int))) return -EPIPE;
    int file;
    memcpy(&file, CMSG_DATA(header), sizeof file);
    return file;
}

int jc_terminal_receive(int socket, int milliseconds) {
    struct pollfd wanted = {.fd = socket, .events = POLLIN};
    int count;
    while ((count = poll(&wanted, 1, milliseconds)) < 0 && errno == EINTR) {}
    if (count <= 0) return count < 0 ? -errno : -ETIMEDOUT;
    int file = receive_file(socket);
    if (file < 0) return file;
    unsigned number;
    // It comes from within a container.
    if (ioctl(file, TIOCGPTN, &number) == 0 && fcntl(file, F_SETFL, O_RDWR | O_NONBLOCK) == 0) return file;
    int error = errno;
    close(file);
    return -error;
}

int jc_terminal_enter(int socket, unsigned short rows, unsigned short columns) {
    int ours = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (ours < 0) return -errno;
    if (unlockpt(ours) != 0) return -errno;
    int theirs = ioctl(ours, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (theirs < 0) return -errno;
    int value = jc_terminal_resize(ours, rows, columns);
    if (value >= 0) value = give_file(socket, ours);
    if (value < 0) return value;
    close(socket);
    // Fails where the runtime has made this process the leader of a session already.
    setsid();
    if (ioctl(theirs, TIOCSCTTY, 0) != 0) return -errno;
    for (int number = 0; number < 3; number++) {
        if (dup2(theirs, number) < 0) return -errno;
    }
    return 0;
}

int jc_terminal_size(int terminal, unsigned short *rows, unsigned short *columns) {
    struct winsize size = {0};
    if (ioctl(terminal, TIOCGWINSZ, &size) != 0) return -errno;
    *rows = size.ws_row;
    *columns = size.ws_col;
    return 0;
}

static pid_t spawn(
    const char *program, char *const *argv, char *const *environment, posix_spawn_file_actions_t *actions, int first) {
    posix_spawn_file_actions_addclosefrom_np(actions, first);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    pid_t process = 0;
    int error = posix_spawn(&process, program, actions, &attributes, argv, environment);
    posix_spawn_file_actions_destroy(actions);
    posix_spawnattr_destroy(&attributes);
    return error == 0 ? process : -error;
}

pid_t jc_spawn_on_terminal(const char *program, char *const *argv, char *const *environment, const char *terminal) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    // The first terminal that the leader of a session opens is the one that controls it.
    posix_spawn_file_actions_addopen(&actions, 0, terminal, O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&actions, 0, 1);
    posix_spawn_file_actions_adddup2(&actions, 0, 2);
    return spawn(program, argv, environment, &actions, 3);
}

pid_t jc_spawn_leader(
    const char *program, char *const *argv, char *const *environment, int input, int output, int errors, int fourth) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input, 0);
    posix_spawn_file_actions_adddup2(&actions, output, 1);
    posix_spawn_file_actions_adddup2(&actions, errors, 2);
    if (fourth >= 0) posix_spawn_file_actions_adddup2(&actions, fourth, 3);
    return spawn(program, argv, environment, &actions, fourth >= 0 ? 4 : 3);
}

int jc_pipe_for(int ends[2], int writing) {
    if (pipe2(ends, O_CLOEXEC) != 0) return -errno;
    return result(fcntl(ends[writing ? 1 : 0], F_SETFL, O_NONBLOCK));
}

int jc_connect(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    int file = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (file < 0) return -errno;
    if (connect(file, (struct sockaddr *)&address, sizeof address) != 0 || fcntl(file, F_SETFL, O_NONBLOCK) != 0) {
        int error = errno;
        close(file);
        return -error;
    }
    return file;
}
