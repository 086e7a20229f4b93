/* Device selectors on a made-up machine: the grammar, the meaning, the messages. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ocl/selector.h"
#include "run.h"

#define PLATFORM(number, name_, driver_) \
  .platform = name_, .driver = driver_, .platform_index = number, .usable = true, .remark = ""

/* 0 cpu (4 units), 1 and 2 equal GPUs, 3 a GPU by another vendor, 4 another driver's CPU, 5 an accelerator, 6 a refused
 * GPU. Platform 3 has no device. */
static const pare_device_info machine[] = {
    {.name = "pthread-znver3",
     .vendor = "AuthenticAMD",
     .compute_units = 4,
     PLATFORM(0, "Portable Computing Language", "pocl")},
    {.name = "GeForce 4",
     .vendor = "NVIDIA",
     .type = PARE_DEVICE_GPU,
     .compute_units = 16,
     PLATFORM(1, "NVIDIA CUDA", "nvidia")},
    {.name = "GeForce 4",
     .vendor = "NVIDIA",
     .type = PARE_DEVICE_GPU,
     .compute_units = 16,
     .device_index = 1,
     PLATFORM(1, "NVIDIA CUDA", "nvidia")},
    {.name = "Arc/770",
     .vendor = "Intel(R) Corporation",
     .type = PARE_DEVICE_GPU,
     .compute_units = 32,
     PLATFORM(2, "rusticl", "rusticl")},
    {.name = "AMD EPYC", .vendor = "Intel(R) Corporation", .compute_units = 4, PLATFORM(4, "Intel(R) OpenCL", "intel")},
    {.name = "Karte für X",
     .vendor = "Firma",
     .type = PARE_DEVICE_ACCELERATOR,
     .compute_units = 1,
     PLATFORM(5, "Firma SDK", "unknown")},
    {.name = "Old GPU",
     .vendor = "Veraltet",
     .type = PARE_DEVICE_GPU,
     .compute_units = 2,
     .platform = "Old",
     .driver = "unknown",
     .platform_index = 6,
     .remark = "no compiler"},
};
#define NMACHINE PARE__COUNT(machine)

/* "0 1/2[8+8]*3@1 ": index, /part of parts with first unit + units, *weight, @group. */
static const char *chosen(const pare_device_info *info, size_t ninfo, const char *spec) {
  static char text[1000];
  pare_device_choice choice[64];
  size_t count = 99, used = 0;
  pare_status status = pare__selector_match(info, ninfo, spec, PARE__COUNT(choice), choice, &count);
  if (status != PARE_OK) {
    ck_assert_int_eq(status, PARE_ERR_SELECTOR);
    ck_assert_uint_eq(count, 0);
    return "";
  }
  text[0] = '\0';
  for (size_t i = 0; i < count; i++) {
    used += (size_t)snprintf(text + used, sizeof text - used, "%s%zu", i ? " " : "", choice[i].index);
    if (choice[i].nparts > 1)
      used += (size_t)snprintf(text + used, sizeof text - used, "/%u:%u[%u+%u]", choice[i].part, choice[i].nparts,
                               choice[i].first_unit, choice[i].compute_units);
    if (choice[i].weight != 1) used += (size_t)snprintf(text + used, sizeof text - used, "*%g", choice[i].weight);
    if (choice[i].group > 0) used += (size_t)snprintf(text + used, sizeof text - used, "@%u", choice[i].group);
  }
  return text;
}

START_TEST(what_is_written_is_what_is_chosen) {
  static const struct {
    const char *spec, *expected;
  } cases[] = {
      {NULL, "1 2 3"},
      {"all", "0 1 2 3 4 5"},
      {"gpu", "1 2 3"},
      {"CPU", "0 4"},
      {"accel", "5"},
      {"cpu,gpu", "0 4 1 2 3"},
      {"gpu:1", "2"},
      {"cpu:1", "4"},
      {"3", "3"},
      {" 3 , 0 ", "3 0"},
      {"1:1", "2"},
      {"nvidia:*", "1 2"},
      {"NVIDIA cuda : 0", "1"},
      {"*:1", "2"},
      {"*:*", "0 1 2 3 4 5"},
      {"4:epyc", "4"},
      {"portable:pthread", "0"},
      /* a driver's short name before parts of names */
      {"intel", "4"},
      {"Intel(R)", "3 4"},
      {"nvidia", "1 2"},
      {"geforce", "1 2"},
      {"firma", "5"},
      {"\"Arc/770\"", "3"},
      {"\"für\"", "5"},
      {"für", "5"},
      {"unknown", "5"},
      /* exclusions apply last, wherever they stand, and alone they start from all */
      {"!gpu", "0 4 5"},
      {"!gpu,!cpu", "5"},
      {"gpu,!geforce", "3"},
      {"!1,gpu", "2 3"},
      {"gpu , ! rusticl", "1 2"},
      {"gpu,!6", "1 2 3"},
      /* duplicates collapse: the first mention has its way */
      {"3,gpu", "3 1 2"},
      {"gpu=3,all", "1*3 2*3 3*3 0 4 5"},
      {"0/2,cpu", "0/0:2[0+2] 0/1:2[2+2] 4"},
      {"0,0,0", "0"},
      /* parts and weights */
      {"0/4", "0/0:4[0+1] 0/1:4[1+1] 0/2:4[2+1] 0/3:4[3+1]"},
      {"0/1", "0"},
      {"0/3+1", "0/0:2[0+3] 0/1:2[3+1]"},
      {"0 / 1 + 2 = 0.5", "0/0:2[0+1]*0.5 0/1:2[1+2]*0.5"},
      {"1/3", "1/0:3[0+5] 1/1:3[5+5] 1/2:3[10+5]"},
      {"cpu/2", "0/0:2[0+2] 0/1:2[2+2] 4/0:2[0+2] 4/1:2[2+2]"},
      {"gpu=3,cpu=1", "1*3 2*3 3*3 0 4"},
      {"0=.25", "0*0.25"},
      /* groups; what stands outside of them is by itself */
      {"(gpu),cpu", "1@1 2@1 3@1 0 4"},
      {" ( 1 , 2 ) , ( 0 / 2 = 3 ) ", "1@1 2@1 0/0:2[0+2]*3@2 0/1:2[2+2]*3@2"},
      {"(geforce),all", "1@1 2@1 0 3 4 5"},
      {"(1,1,nvidia)", "1@1 2@1"},
      {"(Intel(R),0)", "3@1 4@1 0@1"},
      {"(\"Intel(R)\"),0", "3@1 4@1 0"},
      {"(0:0,*:1),3", "0@1 2@1 3"},
      /* exclusions: of their group, and outside of groups of all */
      {"(gpu,!1),1", "2@1 3@1 1"},
      {"(!cpu,!5),(0)", "1@1 2@1 3@1 0@2"},
      {"(gpu),cpu,!3,!4", "1@1 2@1 0"},
      {"!3,(gpu)", "1@1 2@1"},
  };
  for (size_t i = 0; i < PARE__COUNT(cases); i++) {
    const char *got = chosen(machine, NMACHINE, cases[i].spec);
    ck_assert_msg(strcmp(got, cases[i].expected) == 0, "\"%s\" chose \"%s\", not \"%s\": %s",
                  cases[i].spec ? cases[i].spec : "(default)", got, cases[i].expected, pare_message());
  }
}
END_TEST

START_TEST(without_a_gpu_the_first_cpu_is_the_default) {
  ck_assert_str_eq(chosen(machine, 1, NULL), "0");
  ck_assert_str_eq(chosen(machine + 4, 2, NULL), "0");
  ck_assert_str_eq(chosen(machine + 5, 1, NULL), "");
  ck_assert(strstr(pare_message(), "Karte") != NULL);
  ck_assert_str_eq(chosen(machine + 6, 1, NULL), "");
}
END_TEST

START_TEST(a_syntax_error_gives_its_column) {
  static const struct {
    const char *spec;
    int column;
  } cases[] = {{"", 1},         {"gpu,", 5},    {"gpu,,cpu", 5},
               {",gpu", 1},     {"!", 2},       {"gpu:", 5},
               {":1", 1},       {"cpu/", 5},    {"cpu/0", 5},
               {"cpu/x", 5},    {"cpu/3+", 7},  {"cpu/3+0", 7},
               {"cpu/1+-1", 7}, {"cpu=", 5},    {"cpu=0", 5},
               {"cpu=-1", 5},   {"cpu=1e9", 6}, {"cpu=nan", 5},
               {"cpu=.", 5},    {"!cpu/2", 5},  {"!cpu=2", 5},
               {"\"cpu", 5},    {"\"\"", 2},    {"\"cpu\"x", 6},
               {"cpu\"x\"", 4}, {"für,,", 5},   {"0:1:2", 4},
               {"cpu!gpu", 4},  {"cpu=1=2", 6}, {"cpu/2/2", 6},
               {"cpu=1/2", 6},  {"  ", 3},      {"cpu/999999999999", 5},
               {"()", 2},       {"(0", 3},      {"(0,", 4},
               {"(0))", 4},     {"0)", 2},      {"((0))", 2},
               {"(0,(1))", 4},  {"!(0)", 2},    {"(0)(1)", 4},
               {"(0)1", 4},     {"(0)=2", 4},   {"(0)/2", 4},
               {"(,)", 2},      {"(0,)", 4},    {"(!0/2)", 4},
               {")", 1},        {"(\"a)", 5},   {"(0/2+)", 6},
               {"1,( ", 5},     {"(0=)", 4}};
  for (size_t i = 0; i < PARE__COUNT(cases); i++) {
    char column[32];
    snprintf(column, sizeof column, "column %d:", cases[i].column);
    ck_assert_msg(*chosen(machine, NMACHINE, cases[i].spec) == '\0', "\"%s\" chose something", cases[i].spec);
    ck_assert_msg(strstr(pare_message(), column) && strstr(pare_message(), "expected"), "\"%s\": %s, not %s",
                  cases[i].spec, pare_message(), column);
  }
}
END_TEST

START_TEST(what_matches_nothing_names_the_term_and_what_there_is) {
  static const struct {
    const char *spec, *term, *says;
  } cases[] = {
      {"gpu,typo", "\"typo\"", "column 5"},
      {"7", "\"7\"", "no device"},
      {"gpu:4", "\"gpu:4\"", "no device"},
      {"gpu,!typo", "\"!typo\"", "column 5"},
      {"3:0", "\"3:0\"", "no device"},
      {"99999999999", "\"99999999999\"", ""},
      {"gpu,!gpu", "excludes", "every device"},
      {"6", "\"6\"", "no compiler"},
      {"old", "\"old\"", "refuses"},
      {"cpu/5", "\"cpu/5\"", "5 compute units"},
      {"0/3+2", "\"0/3+2\"", "has 4"},
      {"0/99999999+99999999", "has 4", ""},
      {"!all", "excludes", ""},
      {"nvidia:2", "\"nvidia:2\"", ""},
      {"*:typo", "\"*:typo\"", ""},
      {"(1,typo),0", "\"typo\"", "column 4"},
      {"(1,!typo),0", "\"!typo\"", "column 4"},
  };
  for (size_t i = 0; i < PARE__COUNT(cases); i++) {
    ck_assert_msg(*chosen(machine, NMACHINE, cases[i].spec) == '\0', "\"%s\" chose something", cases[i].spec);
    ck_assert_msg(strstr(pare_message(), cases[i].term) && strstr(pare_message(), cases[i].says), "\"%s\": %s",
                  cases[i].spec, pare_message());
    if (!strstr(cases[i].spec, "/"))
      ck_assert_msg(strstr(pare_message(), "0: pthread-znver3 (pocl, cpu)"), "\"%s\": %s", cases[i].spec,
                    pare_message());
  }
  ck_assert_str_eq(chosen(NULL, 0, "all"), "");
  ck_assert(strstr(pare_message(), "no OpenCL device") != NULL);
}
END_TEST

START_TEST(a_device_is_in_one_group) {
  static const struct {
    const char *spec, *says;
  } cases[] = {
      {"(0),(0)", "column 6: \"0\" puts pthread-znver3 into group 2, but it is in group 1 already"},
      {"(1,2),(3,gpu:0)", "column 10: \"gpu:0\" puts GeForce 4 into group 2, but it is in group 1 already"},
      {"cpu,(0)", "column 6: \"0\" puts pthread-znver3 into group 1, but it is selected outside of groups already"},
      {"(0/2),(0/2)", "in group 1 already"},
      {"(0),(!gpu)", "column 6: \"all\" puts pthread-znver3 into group 2, but it is in group 1 already"},
      {"(0,!0),1", "column 2: exclusions leave no device in group 1"},
      {"(1),(0),!cpu", "column 6: exclusions leave no device in group 2"},
  };
  for (size_t i = 0; i < PARE__COUNT(cases); i++) {
    ck_assert_msg(*chosen(machine, NMACHINE, cases[i].spec) == '\0', "\"%s\" chose something", cases[i].spec);
    ck_assert_msg(strstr(pare_message(), cases[i].says), "\"%s\": %s", cases[i].spec, pare_message());
  }
}
END_TEST

START_TEST(more_choices_than_room_are_counted) {
  pare_device_choice one;
  size_t count = 0;
  ck_assert_int_eq(pare__selector_match(machine, NMACHINE, "1/16", 1, &one, &count), PARE_OK);
  ck_assert_uint_eq(count, 16);
  ck_assert_uint_eq(one.index, 1);
  ck_assert_uint_eq(one.nparts, 16);
  ck_assert_int_eq(pare__selector_match(machine, NMACHINE, "all", 0, NULL, &count), PARE_OK);
  ck_assert_uint_eq(count, 6);
}
END_TEST

/* Any cut of a good selector either chooses or is refused with a message. */
START_TEST(every_prefix_is_handled) {
  static const char whole[] = " gpu/3+1 = 2.5 , !\"Arc/770\", ( nvidia:* ,0:1/2 ), (cpu:0=.5,!x),für ";
  for (size_t length = 0; length < sizeof whole; length++) {
    char *spec = malloc(length + 1);
    memcpy(spec, whole, length);
    spec[length] = '\0';
    pare__fail(PARE_ERR_IO, "%s", "");
    const char *got = chosen(machine, NMACHINE, spec);
    ck_assert(*got || *pare_message());
    free(spec);
  }
}
END_TEST

int main(void) {
  TCase *cases = tcase_create("selector");
  tcase_add_test(cases, what_is_written_is_what_is_chosen);
  tcase_add_test(cases, without_a_gpu_the_first_cpu_is_the_default);
  tcase_add_test(cases, a_syntax_error_gives_its_column);
  tcase_add_test(cases, what_matches_nothing_names_the_term_and_what_there_is);
  tcase_add_test(cases, a_device_is_in_one_group);
  tcase_add_test(cases, more_choices_than_room_are_counted);
  tcase_add_test(cases, every_prefix_is_handled);
  return run_tests("selector", cases);
}
