// What sessions need of Linux: terminals, a program that leads a session of its own, and a socket to an engine.
// Each returns a result of 0 or more, or -errno.
#pragma once
#include <sys/types.h>

/// A new pseudo-terminal that changes no byte on its way: the side of whoever types; reading and writing do not block.
/// `path` gets the name of the program's side.
int jc_terminal_open(char *path, int size);
int jc_terminal_resize(int terminal, unsigned short rows, unsigned short columns);

/// For a process in a container: makes a terminal there, hands the side of whoever types over through `socket`, which is closed, and takes
/// the program's side as its controlling terminal and its standard streams.
int jc_terminal_enter(int socket, unsigned short rows, unsigned short columns);
/// The side that was handed over; reading and writing it do not block. -EPIPE if nobody will, -ETIMEDOUT after
/// `milliseconds`.
int jc_terminal_receive(int socket, int milliseconds);

int jc_terminal_size(int terminal, unsigned short *rows, unsigned short *columns);

/// Starts `program` as the leader of a session of its own, with the terminal at `terminal` as its streams, no signal
/// blocked and no other open file. Returns the process id.
pid_t jc_spawn_on_terminal(const char *program, char *const *argv, char *const *environment, const char *terminal);

/// As above, with three descriptors as its streams, and `fourth` as descriptor 3 unless it is negative.
pid_t jc_spawn_leader(
    const char *program, char *const *argv, char *const *environment, int input, int output, int errors, int fourth);

/// Pipes of which neither end blocks for us: `ends` gets the reading and the writing end. `writing` says which is ours.
int jc_pipe_for(int ends[2], int writing);

/// Connects to the Unix socket at `path`; the socket does not block.
int jc_connect(const char *path);
