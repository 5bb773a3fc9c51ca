/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers on stdin, their buckets on stdout: for comparison with ftd/metrics.py. */
#include <inttypes.h>
#include <stdio.h>

#include "base.h"

int main(void)
{
	uint64_t value;

	while (scanf("%" SCNu64, &value) == 1)
		printf("%u\n", histogram_index(value));
	return 0;
}
