/* What a kernel file offers, and what they all share. Every file has the same few functions; serial.c says plainly what
 * each of them does. */
#ifndef BGE_KERNELS_H
#define BGE_KERNELS_H

#include "bge.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

struct bge_kernels {
    const char *name;
    const bge_class *class;  /* NULL: any */

    /* A row of activations -> codes, their scale, and the code of 0: x is about (code - zero) * scale. */
    void (*quantize)(const bge_class *class, const float *x, int size, uint8_t *codes, float *scale, int32_t *zero);

    /* A row -> its layer normalisation; `out` may be `x`. */
    void (*norm)(const float *x, const float *weight, const float *bias, float epsilon, int size, float *out);

    /* One panel of outputs for some rows. */
    void (*product)(const bge_class *class, const bge_product *product, int row, int rows, int panel);

    /* One head for some queries; `memory` has room for attention_bytes(). */
    void (*attend)(const bge_attention *attention, int head, int query, int queries, void *memory);
    size_t (*attention_bytes)(const bge_attention *attention);

    float (*dot)(const float *x, const float *y, int size);

    /* As bge_peak. */
    int64_t (*peak)(int integer, int64_t rounds);
};

extern const bge_class bge_class_vnni, bge_class_avx2, bge_class_neon;

extern const bge_kernels bge_kernels_serial, bge_kernels_avx2, bge_kernels_avxvnni, bge_kernels_avx512vnni,
    bge_kernels_avx512bf16, bge_kernels_neon;

static inline int bge_least(int a, int b) { return a < b ? a : b; }
static inline size_t bge_rounded_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

#define BGE_SMALLEST_RANGE 1e-30f /* a row of activations within it counts as zeros: 1 / scale would overflow */

#endif
