/* A forward pass is a row of steps, each cut into parts. Its leader offers every step at a seat of the team; idle threads
 * look over the seats and claim parts, as the leader does, by an atomic counter. A helper holds nothing between two
 * parts, so it can join and leave at any time. Parts touch different outputs, and no sum runs across parts, so who does
 * which makes no difference to a bit.
 */
#include "team.h"

#include <pthread.h>
#include <stdlib.h>

enum { SEATS = 64, SPINS = 2000 };

struct bge_seat {
    /* The step's parts in the upper half, the next part to claim in the lower; with next >= parts it is closed. The
     * fields below are written while it is closed, and read only after a claim. */
    _Alignas(64) _Atomic uint64_t offer;
    bge_part part;
    void *context;
    _Alignas(64) _Atomic int32_t done;
    _Atomic int32_t error, waiting, taken;
};

struct bge_team {
    struct bge_seat seats[SEATS];
    pthread_mutex_t lock;
    pthread_cond_t offered, finished;
    _Atomic uint32_t recalls;
    _Atomic int32_t leading, sleeping;
};

static inline void pause_briefly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

bge_team *bge_team_new(void) {
    size_t size = (sizeof(bge_team) + 63) / 64 * 64;
    bge_team *team = aligned_alloc(64, size);
    if (!team) return NULL;
    for (int i = 0; i < SEATS; i++) {
        bge_seat *seat = &team->seats[i];
        atomic_init(&seat->offer, 0);
        seat->part = NULL;
        seat->context = NULL;
        atomic_init(&seat->done, 0);
        atomic_init(&seat->error, 0);
        atomic_init(&seat->waiting, 0);
        atomic_init(&seat->taken, 0);
    }
    atomic_init(&team->recalls, 0);
    atomic_init(&team->leading, 0);
    atomic_init(&team->sleeping, 0);
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->offered, NULL);
    pthread_cond_init(&team->finished, NULL);
    return team;
}

void bge_team_free(bge_team *team) {
    if (!team) return;
    pthread_cond_destroy(&team->finished);
    pthread_cond_destroy(&team->offered);
    pthread_mutex_destroy(&team->lock);
    free(team);
}

static void wake(bge_team *team, pthread_cond_t *whom) {
    pthread_mutex_lock(&team->lock);
    pthread_cond_broadcast(whom);
    pthread_mutex_unlock(&team->lock);
}

bge_seat *bge_team_sit(bge_team *team) {
    if (!team) return NULL;
    for (int i = 0; i < SEATS; i++) {
        int32_t free_seat = 0;
        if (atomic_compare_exchange_strong(&team->seats[i].taken, &free_seat, 1)) {
            bge_team_begin(team);
            return &team->seats[i];
        }
    }
    return NULL;
}

void bge_team_rise(bge_team *team, bge_seat *seat) {
    if (!seat) return;
    atomic_store(&seat->taken, 0);
    bge_team_end(team);
}

static int is_open(uint64_t offer) { return (uint32_t)offer < (uint32_t)(offer >> 32); }

/* Claims and does parts of the step on offer until none is left; returns how many. */
static int64_t do_parts(bge_team *team, bge_seat *seat, bge_scratch *own) {
    int64_t count = 0;
    while (is_open(atomic_load_explicit(&seat->offer, memory_order_relaxed))) {
        uint64_t claim = atomic_fetch_add_explicit(&seat->offer, 1, memory_order_acq_rel);
        if (!is_open(claim)) break;
        int error = seat->part(seat->context, (int)(uint32_t)claim, own);
        if (error) atomic_store_explicit(&seat->error, error, memory_order_relaxed);
        /* Sequentially consistent, as is `waiting`: either the leader sees this part done or it is seen waiting. */
        int32_t parts = (int32_t)(claim >> 32);
        if (atomic_fetch_add(&seat->done, 1) + 1 == parts && atomic_load(&seat->waiting)) wake(team, &team->finished);
        count++;
    }
    return count;
}

int bge_team_run(bge_team *team, bge_seat *seat, bge_part part, void *context, int parts, bge_scratch *own) {
    if (!seat) {
        int error = BGE_OK;
        for (int i = 0; i < parts && !error; i++) error = part(context, i, own);
        return error;
    }
    seat->part = part;
    seat->context = context;
    atomic_store_explicit(&seat->done, 0, memory_order_relaxed);
    atomic_store_explicit(&seat->error, BGE_OK, memory_order_relaxed);
    atomic_store(&seat->offer, (uint64_t)parts << 32);
    if (parts > 1 && atomic_load(&team->sleeping)) wake(team, &team->offered);
    do_parts(team, seat, own);
    for (int i = 0; i < SPINS && atomic_load(&seat->done) < parts; i++) pause_briefly();
    if (atomic_load(&seat->done) < parts) {
        pthread_mutex_lock(&team->lock);
        atomic_store(&seat->waiting, 1);
        while (atomic_load(&seat->done) < parts) pthread_cond_wait(&team->finished, &team->lock);
        atomic_store(&seat->waiting, 0);
        pthread_mutex_unlock(&team->lock);
    }
    return atomic_load_explicit(&seat->error, memory_order_relaxed);
}

void bge_team_begin(bge_team *team) { atomic_fetch_add(&team->leading, 1); }

void bge_team_end(bge_team *team) {
    if (atomic_fetch_sub(&team->leading, 1) == 1) wake(team, &team->offered);
}

uint32_t bge_team_recalls(bge_team *team) { return atomic_load(&team->recalls); }

void bge_team_recall(bge_team *team) {
    atomic_fetch_add(&team->recalls, 1);
    wake(team, &team->offered);
}

static int any_open(bge_team *team) {
    for (int i = 0; i < SEATS; i++)
        if (is_open(atomic_load(&team->seats[i].offer))) return 1;
    return 0;
}

int64_t bge_help(bge_team *team, bge_scratch *scratch, uint32_t recalls) {
    int64_t count = 0;
    for (int idle = 0; atomic_load(&team->recalls) == recalls && atomic_load(&team->leading) > 0;) {
        int64_t before = count;
        for (int i = 0; i < SEATS; i++) count += do_parts(team, &team->seats[i], scratch);
        if (count > before) {
            idle = 0;
        } else if (idle++ < SPINS / 10) {
            for (int i = 0; i < 10; i++) pause_briefly();
        } else {
            pthread_mutex_lock(&team->lock);
            atomic_fetch_add(&team->sleeping, 1); /* before the last look: a step offered after it wakes us */
            while (!any_open(team) && atomic_load(&team->recalls) == recalls && atomic_load(&team->leading) > 0)
                pthread_cond_wait(&team->offered, &team->lock);
            atomic_fetch_sub(&team->sleeping, 1);
            pthread_mutex_unlock(&team->lock);
            idle = 0;
        }
    }
    return count;
}
