/* SPDX-License-Identifier: GPL-2.0-only */
/* Keeps the libraries' warnings; see bpf_messages.h. */
#include "datapath/bpf_messages.h"

#include <bpf/libbpf.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <xdp/libxdp.h>

static char first_warning[256];

static int keep(const char *format, va_list args)
{
	if (!first_warning[0]) {
		vsnprintf(first_warning, sizeof(first_warning), format, args);
		first_warning[strcspn(first_warning, "\n")] = '\0';
	}
	return 0;
}

__attribute__((format(printf, 2, 0))) static int keep_libbpf(enum libbpf_print_level level,
							     const char *format, va_list args)
{
	return level == LIBBPF_WARN ? keep(format, args) : 0;
}

__attribute__((format(printf, 2, 0))) static int keep_libxdp(enum libxdp_print_level level,
							     const char *format, va_list args)
{
	return level == LIBXDP_WARN ? keep(format, args) : 0;
}

void bpf_messages_setup(void)
{
	libbpf_set_print(keep_libbpf);
	libxdp_set_print(keep_libxdp);
	bpf_messages_clear();
}

void bpf_messages_clear(void)
{
	first_warning[0] = '\0';
}

const char *bpf_messages_or(int error)
{
	return first_warning[0] ? first_warning : strerror(error < 0 ? -error : error);
}
