/* SPDX-License-Identifier: GPL-2.0-only */
/* Texts a person writes: peers, communities, AS numbers. A refusal has a sentence and changes
 * nothing. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "advertise/bgp/bgp_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bgp_attributes attributes = { 0 };
	struct bgp_peer_config peer = { .as = 0 };
	char *text = malloc(size + 1);
	struct errbuf err = { 0 };
	uint32_t as = 0;

	memcpy(text, data, size);
	text[size] = '\0';
	/* No file of this machine is opened for the fuzzer. */
	if (strstr(text, "password-file") == NULL) {
		if (bgp_peer_parse(text, &peer, &err) == 0)
			require(peer.as != 0 && peer.port != 0 &&
				bgp_peer_check(&peer, 0, &err) == 0);
		else
			require(peer.as == 0 && err.text[0] != '\0');
	}
	if (bgp_communities_parse(text, &attributes, &err) < 0)
		require(attributes.community_count == 0 && attributes.large_community_count == 0);
	if (bgp_as_parse(text, &as, &err) == 0)
		require(as != 0);
	free(text);
	return 0;
}
