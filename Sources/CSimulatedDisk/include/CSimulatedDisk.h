// A disk below SQLite that forgets what was not synced. A VFS around the system's: files whose path contains
// "jobctl-simulation-" go through a book of writes since their last sync; all others pass through untouched.
#ifndef C_SIMULATED_DISK_H
#define C_SIMULATED_DISK_H

#include <stdint.h>

enum jcd_fault { JCD_NONE, JCD_FULL, JCD_WRITE_FAILS, JCD_SYNC_FAILS };
enum jcd_syncs { JCD_SYNCS, JCD_SYNCS_NO_LOG, JCD_SYNCS_NOTHING };

/// Becomes SQLite's default VFS. Once for a process; again does nothing. Returns SQLite's code.
int jcd_install(void);

/// The fault happens at the `after`-th write or sync below `folder`, counted from now, and at each later one until it
/// is taken back with JCD_NONE.
void jcd_arm(const char *folder, enum jcd_fault fault, int after);
/// Whether the fault has happened since it was armed.
int jcd_has_struck(const char *folder);
/// Which syncs below `folder` do what they say.
void jcd_set_syncs(const char *folder, enum jcd_syncs syncs);

/// Copies a file as a power loss would leave it: each write since the last sync is there, or not, or in part, as drawn
/// from `seed`. Returns how many writes were lost or torn, or -1.
int jcd_copy_after_power_loss(const char *from, const char *to, uint64_t seed);
/// Forgets all about the files below `folder`.
void jcd_forget(const char *folder);

#endif
