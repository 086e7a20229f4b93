/* HEFT's plan, for tests that compare plans. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_SCHED_POLICY_HEFT_H
#define PARE_SCHED_POLICY_HEFT_H

#include "sched/policy.h"

/* Plans; only_append: as list scheduling does, without a look at gaps. */
pare_status pare__heft_plan(pare__policy *policy, const pare__policy_graph *graph, bool only_append);
/* Of the plan; 0 if there is none. */
double pare__heft_makespan(const pare__policy *policy);
/* How many of its tasks are in gaps between others. */
size_t pare__heft_inserted(const pare__policy *policy);

#endif
