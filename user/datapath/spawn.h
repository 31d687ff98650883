/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * spawn: runs one of the system's own programs and waits for it: nft(8), iptables(8), modprobe(8).
 * Such a program takes milliseconds, during which the loop stands still.
 */
#ifndef SLB_DATAPATH_SPAWN_H
#define SLB_DATAPATH_SPAWN_H

#define SPAWN_WORDS_SIZE 256

/* Runs argv[0] from PATH with `input` as its standard input. 0, -ENOENT when there is no such
 * program, -EIO when it failed; words then says why: what it printed, on one line, or why it cannot
 * be started. On success what
 * it printed goes to *ret_output (unless NULL), for free(). Memory files stand in for pipes, so
 * nothing can block on a full one. */
int spawn_run(char *const argv[], const char *input, char words[static SPAWN_WORDS_SIZE],
	      char **ret_output);

#endif
