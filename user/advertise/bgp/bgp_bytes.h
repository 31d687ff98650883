/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bgp_bytes: a reader and a writer of big-endian bytes. Whatever parses or builds a message goes
 * through these two, so that bounds are checked in one place.
 *
 * invariant: a reader never moves past its end. take_*() returns false and moves nothing when too
 * little is left, and the value is untouched then.
 * invariant: a writer never writes past its size. A put that does not fit sets `overflow` and
 * writes nothing; so do all puts after it.
 */
#ifndef SLB_ADVERTISE_BGP_BYTES_H
#define SLB_ADVERTISE_BGP_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bgp_reader {
	const uint8_t *data; /* borrowed */
	size_t length;       /* what is left */
};

static inline bool bgp_take_bytes(struct bgp_reader *reader, size_t length, const uint8_t **ret)
{
	if (reader->length < length)
		return false;
	*ret = reader->data;
	reader->data += length;
	reader->length -= length;
	return true;
}

/* A reader over the next `length` bytes. */
static inline bool bgp_take_part(struct bgp_reader *reader, size_t length, struct bgp_reader *ret)
{
	const uint8_t *data;

	if (!bgp_take_bytes(reader, length, &data))
		return false;
	*ret = (struct bgp_reader){ .data = data, .length = length };
	return true;
}

static inline bool bgp_take_u8(struct bgp_reader *reader, uint8_t *ret)
{
	const uint8_t *data;

	if (!bgp_take_bytes(reader, 1, &data))
		return false;
	*ret = data[0];
	return true;
}

static inline bool bgp_take_u16(struct bgp_reader *reader, uint16_t *ret)
{
	const uint8_t *data;

	if (!bgp_take_bytes(reader, 2, &data))
		return false;
	*ret = (uint16_t)(data[0] << 8 | data[1]);
	return true;
}

static inline bool bgp_take_u32(struct bgp_reader *reader, uint32_t *ret)
{
	const uint8_t *data;

	if (!bgp_take_bytes(reader, 4, &data))
		return false;
	*ret = (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
	return true;
}

struct bgp_writer {
	uint8_t *data; /* borrowed */
	size_t size;
	size_t length; /* written so far */
	bool overflow;
};

static inline bool bgp_put_bytes(struct bgp_writer *writer, const void *bytes, size_t length)
{
	if (writer->overflow || writer->size - writer->length < length) {
		writer->overflow = true;
		return false;
	}
	if (length > 0)
		memcpy(writer->data + writer->length, bytes, length);
	writer->length += length;
	return true;
}

static inline bool bgp_put_u8(struct bgp_writer *writer, uint8_t value)
{
	return bgp_put_bytes(writer, &value, 1);
}

static inline bool bgp_put_u16(struct bgp_writer *writer, uint16_t value)
{
	uint8_t bytes[2] = { (uint8_t)(value >> 8), (uint8_t)value };

	return bgp_put_bytes(writer, bytes, sizeof(bytes));
}

static inline bool bgp_put_u32(struct bgp_writer *writer, uint32_t value)
{
	uint8_t bytes[4] = { (uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
			     (uint8_t)value };

	return bgp_put_bytes(writer, bytes, sizeof(bytes));
}

/* Overwrites what has been written before, at an offset the caller kept (a length field). */
static inline void bgp_patch_u8(struct bgp_writer *writer, size_t offset, size_t value)
{
	if (!writer->overflow)
		writer->data[offset] = (uint8_t)value;
}

static inline void bgp_patch_u16(struct bgp_writer *writer, size_t offset, size_t value)
{
	if (writer->overflow)
		return;
	writer->data[offset] = (uint8_t)(value >> 8);
	writer->data[offset + 1] = (uint8_t)value;
}

#endif
