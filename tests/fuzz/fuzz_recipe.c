/* Recipes: any bytes become a recipe or a message with a place; what was read is written out and read again to the
 * same. SPDX-License-Identifier: Apache-2.0 */
#include <pare/compress.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  pare_recipe *recipe = NULL, *again = NULL;
  char *copy = fuzz_text(data, nbytes), *text, *second;
  const pare_status status = pare_recipe_parse(copy, nbytes, "recipe.yaml", &recipe);
  if (status == PARE_OK) {
    FUZZ_LAW(pare_recipe_text(recipe, &text) == PARE_OK);
    FUZZ_LAW(pare_recipe_parse(text, strlen(text), "again.json", &again) == PARE_OK);
    FUZZ_LAW(pare_recipe_text(again, &second) == PARE_OK);
    FUZZ_LAW(strcmp(text, second) == 0);
    free(text);
    free(second);
  } else {
    FUZZ_LAW(recipe == NULL);
    FUZZ_LAW(status == PARE_ERR_FORMAT || status == PARE_ERR_MEMORY || status == PARE_ERR_ARGUMENT);
    FUZZ_LAW(pare_message()[0] != '\0');
  }
  pare_recipe_close(again);
  pare_recipe_close(recipe);
  free(copy);
  return 0;
}
