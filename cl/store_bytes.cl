/* Eight bytes of local memory at once, at a multiple of four: vstore8 may store each by itself.
 * SPDX-License-Identifier: Apache-2.0 */
typedef long long_at_int __attribute__((aligned(4)));
#define STORE_BYTES(to, value) (*(__local long_at_int *)(to) = (value))
