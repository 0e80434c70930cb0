// SPDX-License-Identifier: GPL-2.0-only
/* Bytes that prove themselves: random, with their checksum behind them. */
#include "zdtmtst.h"

/* Each step is a bijection of the sum, so that no single changed byte goes unseen. */
static uint32_t checksum(const uint8_t *data, unsigned int length, uint32_t sum)
{
	while (length--)
		sum = (sum ^ *data++) * 16777619u;
	return sum;
}

void datagen(uint8_t *buffer, unsigned int length, uint32_t *crc)
{
	unsigned int body = crc && length >= sizeof(*crc) ? length - sizeof(*crc) : length;

	for (unsigned int i = 0; i < body; i++)
		buffer[i] = mrand48() >> 8;
	if (body == length)
		return;
	*crc = checksum(buffer, body, *crc);
	memcpy(buffer + body, crc, sizeof(*crc));
}

int datachk(const uint8_t *buffer, unsigned int length, uint32_t *crc)
{
	unsigned int body = length - sizeof(*crc);

	if (length < sizeof(*crc))
		return 0;
	*crc = checksum(buffer, body, *crc);
	return !!memcmp(buffer + body, crc, sizeof(*crc));
}
