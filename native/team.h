/* Steps that idle threads may help with: see team.c. */
#ifndef BGE_TEAM_H
#define BGE_TEAM_H

#include "bge.h"

#include <stddef.h>

/* Does one part of a step; `own` is the scratch of whoever does it. Returns BGE_OK or an error. */
typedef int (*bge_part)(void *context, int part, bge_scratch *own);

typedef struct bge_seat bge_seat;

bge_seat *bge_team_sit(bge_team *team); /* NULL: no team, or all seats are taken; then nobody helps */
void bge_team_rise(bge_team *team, bge_seat *seat);

/* Does all parts of a step, with whoever helps; returns once all are done. */
int bge_team_run(bge_team *team, bge_seat *seat, bge_part part, void *context, int parts, bge_scratch *own);

/* Memory of a scratch for one part of one step, 64-byte aligned; NULL when there is none. */
void *bge_scratch_part(bge_scratch *scratch, size_t bytes);

#endif
