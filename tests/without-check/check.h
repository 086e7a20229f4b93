/* Found only where configure found no libcheck. SPDX-License-Identifier: Apache-2.0 */
#error "make check needs libcheck; on Debian: apt-get install check, then run configure again"
