// Where jobctl-runner begins, before the C library and Swift do.
#pragma once

/// The program's entry point (Package.swift says so to the linker): what is started as a container's process 1 becomes the init
/// at once; all else goes on where programs begin.
void jc_entry(void);
