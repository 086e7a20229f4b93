# Prints the code block of a page of the manual that follows "<!-- file: NAME -->". SPDX-License-Identifier: Apache-2.0
# usage: awk -v file=NAME -f extract.awk PAGE
$0 == "<!-- file: " file " -->" { wanted = 1; next }
wanted && /^```/ { if (inside) exit; inside = 1; next }
wanted && inside
