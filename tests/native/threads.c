/* Eight threads at once under ThreadSanitizer: four lead forward passes of one team, four help, and all logits have the
 * same bits. Also what runs in qemu, where there is no numpy: every kernel file against serial.c. make test-native and
 * make test-arm compile and run it; it says nothing and returns 0 when all is well. */
#include "../../native/kernels.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { HIDDEN = 96, WIDE = 160, LAYERS = 2, VOCABULARY = 50, PAIRS = 5, TOKENS = 90, PASSES = 6 };

static uint32_t state = 1;

static int drawn(int below) {
    state = state * 1664525u + 1013904223u;
    return (int)((state >> 8) % (uint32_t)below);
}

static float *floats(int count, float spread, float middle) {
    float *x = malloc((size_t)count * sizeof *x);
    for (int i = 0; i < count; i++) x[i] = middle + spread * (float)(drawn(2001) - 1000) / 1000;
    return x;
}

/* A random matrix (outputs, inputs) as a class wants it; every code within its limit. */
static bge_matrix matrix(const bge_class *class, int outputs, int inputs) {
    int group = class->group ? class->group : inputs, groups = (inputs + group - 1) / group;
    int8_t *codes = malloc((size_t)outputs * inputs);
    int32_t *multipliers = malloc((size_t)outputs * groups * sizeof *multipliers);
    int32_t *sums = calloc((size_t)outputs, sizeof *sums);
    for (int i = 0; i < outputs * groups; i++) multipliers[i] = (class->group ? 1 + drawn(40) : 1) * 0x10001;
    for (int o = 0; o < outputs; o++)
        for (int i = 0; i < inputs; i++) {
            int panel = o / class->panel, c = o % class->panel;
            int8_t code = (int8_t)(drawn(2 * class->weight_limit + 1) - class->weight_limit);
            codes[(((size_t)panel * (inputs / 4) + i / 4) * class->panel + c) * 4 + i % 4] = code;
            sums[o] += code * (multipliers[(panel * groups + i / group) * class->panel + c] & 0xffff);
        }
    float unit = 1.0f / (float)(class->weight_limit * (class->group ? 20 : 1)) / sqrtf((float)inputs);
    return (bge_matrix){codes, class->group ? multipliers : NULL, sums, floats(outputs, unit / 4, unit),
                        floats(outputs, 0.1f, 0)};
}

static bge_model model(const bge_class *class) {
    bge_layer *layers = malloc(LAYERS * sizeof *layers);
    for (int i = 0; i < LAYERS; i++)
        layers[i] = (bge_layer){
            matrix(class, HIDDEN, HIDDEN), matrix(class, HIDDEN, HIDDEN), matrix(class, HIDDEN, HIDDEN),
            matrix(class, HIDDEN, HIDDEN), matrix(class, WIDE, HIDDEN), matrix(class, HIDDEN, WIDE),
            floats(HIDDEN, 0.2f, 1), floats(HIDDEN, 0.2f, 0), floats(HIDDEN, 0.2f, 1), floats(HIDDEN, 0.2f, 0)};
    int8_t *words = malloc(VOCABULARY * HIDDEN);
    for (int i = 0; i < VOCABULARY * HIDDEN; i++) words[i] = (int8_t)(drawn(255) - 127);
    return (bge_model){HIDDEN, LAYERS, 3, WIDE, VOCABULARY, TOKENS, 1, 1e-5f, words, floats(VOCABULARY, 0.001f, 0.01f),
                       floats(TOKENS * HIDDEN, 0.3f, 0), floats(HIDDEN, 0.3f, 0), floats(HIDDEN, 0.2f, 1),
                       floats(HIDDEN, 0.2f, 0), layers, floats(HIDDEN * HIDDEN, 0.1f, 0), floats(HIDDEN, 0.1f, 0),
                       floats(HIDDEN, 0.3f, 0), floats(1, 1, 0)};
}

static int failures;

static void check(int good, const char *kernels, const char *what) {
    if (good) return;
    failures++;
    fprintf(stderr, "%s: %s\n", kernels, what);
}

/* One kernel after the other against serial.c. */
static void compare(const bge_kernels *k, const bge_class *class) {
    const bge_kernels *serial = bge_kernels_named("serial");
    for (int round = 0; round < 60; round++) {
        int inputs = 32 * (1 + drawn(48)), outputs = 32 * (1 + drawn(3)), rows = 1 + drawn(40);
        uint8_t *codes = malloc((size_t)rows * inputs), *other = malloc((size_t)inputs);
        float *scales = malloc((size_t)rows * sizeof *scales), scale;
        int32_t *zeros = malloc((size_t)rows * sizeof *zeros), zero;
        float *x = floats(rows * inputs, round % 5 ? 3 : 0, round % 3 ? 1 : 0);
        for (int r = 0; r < rows; r++) {
            bge_quantize(k, class, x + (size_t)r * inputs, inputs, codes + (size_t)r * inputs, scales + r, zeros + r);
            bge_quantize(serial, class, x + (size_t)r * inputs, inputs, other, &scale, &zero);
            check(!memcmp(other, codes + (size_t)r * inputs, (size_t)inputs) && scale == scales[r] && zero == zeros[r],
                  k->name, "quantize");
        }
        float *mine = malloc((size_t)rows * outputs * sizeof *mine), *theirs = malloc((size_t)rows * outputs * sizeof *mine);
        bge_product p = {codes, scales, zeros, inputs, outputs, matrix(class, outputs, inputs), mine, NULL, 0};
        bge_multiply(k, class, &p, rows);
        p.out = theirs;
        bge_multiply(serial, class, &p, rows);
        check(!memcmp(mine, theirs, (size_t)rows * outputs * sizeof *mine), k->name, "product");
        float *bent = malloc((size_t)rows * outputs * sizeof *bent);
        p.gelu = 1;
        p.out = bent;
        bge_multiply(k, class, &p, rows);
        for (int i = 0; i < rows * outputs; i++) {
            float y = mine[i] / 2 * (1 + erff(mine[i] * 0.70710678f));
            check(fabsf(bent[i] - y) <= 1.1e-5f * fmaxf(1, fabsf(mine[i])), k->name, "gelu");
        }
        bge_norm(k, x, p.matrix.bias, p.matrix.bias, 1e-5f, 32, mine);
        bge_norm(serial, x, p.matrix.bias, p.matrix.bias, 1e-5f, 32, theirs);
        for (int i = 0; i < 32; i++) check(fabsf(mine[i] - theirs[i]) < 1e-4f, k->name, "norm");

        int tokens = 1 + drawn(150), queries = 1 + drawn(60), size = 8 * (1 + drawn(9)), width = 2 * size;
        float *q = floats(queries * width, 1, 0), *kv = floats(tokens * width, 1, 0);
        float *here = calloc((size_t)queries * width, sizeof *here), *there = calloc((size_t)queries * width, sizeof *here);
        bge_scratch *scratch = bge_scratch_new();
        bge_attention a = {q, kv, kv, here, width, queries, tokens, size};
        check(bge_attend(k, &a, 1, scratch) == BGE_OK, k->name, "memory");
        a.out = there;
        bge_attend(serial, &a, 1, scratch);
        float bound = strstr(k->name, "bf16") ? 0.05f : 1e-4f;
        for (int i = 0; i < queries * width; i++) check(fabsf(here[i] - there[i]) < bound, k->name, "attention");
        bge_scratch_free(scratch);
    }
}

struct work {
    const bge_kernels *kernels;
    const bge_class *class;
    const bge_model *model;
    const bge_run *run;
    bge_team *team;
    float logits[PASSES][PAIRS];
    _Atomic int32_t *done;
};

static void *lead(void *argument) {
    struct work *w = argument;
    bge_scratch *scratch = bge_scratch_new();
    for (int i = 0; i < PASSES; i++)
        check(!bge_forward(w->kernels, w->class, w->model, w->run, scratch, w->team, w->done, w->logits[i]), w->kernels->name,
              "forward");
    bge_scratch_free(scratch);
    return NULL;
}

static void *help(void *argument) {
    struct work *w = argument;
    bge_scratch *scratch = bge_scratch_new();
    while (!atomic_load(w->done)) bge_help(w->team, scratch, bge_team_recalls(w->team));
    bge_scratch_free(scratch);
    return NULL;
}

static void together(const bge_kernels *k, const bge_class *class) {
    bge_model m = model(class);
    int32_t ids[TOKENS], types[TOKENS] = {0}, positions[TOKENS], bounds[PAIRS + 1] = {0, 1, 8, 40, 73, TOKENS};
    for (int i = 0; i < TOKENS; i++) {
        ids[i] = drawn(VOCABULARY);
        positions[i] = i;
    }
    bge_run run = {PAIRS, ids, types, positions, bounds};
    static struct work works[4];
    _Atomic int32_t done = 0, never = 0;
    bge_team *team = bge_team_new();
    pthread_t leaders[4], helpers[4];
    struct work helping = {k, class, &m, &run, team, {{0}}, &done};
    for (int i = 0; i < 4; i++) {
        works[i] = (struct work){k, class, &m, &run, team, {{0}}, &never};
        pthread_create(&helpers[i], NULL, help, &helping);
        pthread_create(&leaders[i], NULL, lead, &works[i]);
        if (i == 1) bge_team_recall(team);
    }
    for (int i = 0; i < 4; i++) pthread_join(leaders[i], NULL);
    atomic_store(&done, 1);
    bge_team_recall(team);
    for (int i = 0; i < 4; i++) pthread_join(helpers[i], NULL);
    bge_team_free(team);
    float alone[PAIRS];
    bge_scratch *scratch = bge_scratch_new();
    check(!bge_forward(k, class, &m, &run, scratch, NULL, NULL, alone), k->name, "forward alone");
    bge_scratch_free(scratch);
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < PASSES; j++) check(!memcmp(works[i].logits[j], alone, sizeof alone), k->name, "other bits");
    for (int i = 0; i < PAIRS; i++) check(isfinite(alone[i]), k->name, "not a number");
}

int main(void) {
    int found = 0;
    for (int i = 0; bge_kernels_at(i); i++) {
        const bge_kernels *k = bge_kernels_at(i);
        if (!k->class || !bge_kernels_run_here(k)) continue;
        found++;
        compare(k, k->class);
        together(k, k->class);
    }
    if (!found) fprintf(stderr, "no kernels run here\n");
    return failures || !found;
}
