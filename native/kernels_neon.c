/* arm64 with dot products (ARMv8.2 DotProd): Graviton 2 and newer, Apple silicon, Cortex-A76 and newer.
 *
 * sdot multiplies 16 signed bytes and adds them up in 32 bits, exactly.
 *
 * Written and tested on an x86 machine, in emulation (make test-arm): correct, but its speed has not been measured.
 */
#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

typedef float32x4_t vf;
#define V 4
#define v_load vld1q_f32
#define v_store vst1q_f32
#define v_set vdupq_n_f32
#define v_add vaddq_f32
#define v_sub vsubq_f32
#define v_mul vmulq_f32
#define v_fma(a, b, c) vfmaq_f32(c, a, b)
#define v_max vmaxq_f32
#define v_min vminq_f32
#define v_round vrndnq_f32
#define v_sum vaddvq_f32
#define v_peak vmaxvq_f32
#define v_least vminvq_f32
#define v_float(p) vcvtq_f32_s32(vld1q_s32(p))

static inline vf v_power(vf x, vf n) {
    int32x4_t exponent = vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127)), 23);
    return vmulq_f32(x, vreinterpretq_f32_s32(exponent));
}

static inline void v_store_codes(uint8_t *codes, vf x) {
    int16x4_t halves = vmovn_s32(vcvtnq_s32_f32(x));
    int32_t bytes = vget_lane_s32(vreinterpret_s32_s8(vmovn_s16(vcombine_s16(halves, halves))), 0);
    memcpy(codes, &bytes, sizeof bytes);
}

typedef float lane;
typedef float32x4_t vl;
#define PER_LANE 1
#define vl_load vld1q_f32
#define vl_set vld1q_dup_f32
#define v_dot(c, a, b) vfmaq_f32(c, a, b)
#define FLOAT_ROWS 8
#define EACH_FLOAT_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)

static inline lane lane_of(float x, float y) { (void)y; return x; }

#include "floats.h"

enum { ROWS = 4, PANEL = 16 };

static inline int8x16_t four(const uint8_t *codes) {
    int32_t x;
    memcpy(&x, codes, sizeof x);
    return vreinterpretq_s8_s32(vdupq_n_s32(x));
}

/* Four rows times a panel: activations, (ROWS, inputs), times weights, (inputs/4, PANEL, 4) -> sums, (ROWS, PANEL).
 * `last` is the last row that is there; rows past it repeat it. */
#define EACH_ROW(X) X(0) X(1) X(2) X(3)
#define START(r)                                                                            \
    const uint8_t *a##r = p->codes + ((size_t)row + bge_least(r, last)) * p->inputs;        \
    const int32_t zero##r = -p->zeros[row + bge_least(r, last)];                            \
    int32x4_t c##r = vmulq_n_s32(vld1q_s32(start), zero##r), d##r = vmulq_n_s32(vld1q_s32(start + 4), zero##r); \
    int32x4_t e##r = vmulq_n_s32(vld1q_s32(start + 8), zero##r), f##r = vmulq_n_s32(vld1q_s32(start + 12), zero##r);
#define STEP(r) {                                                                           \
    int8x16_t x = four(a##r + i);                                                           \
    c##r = vdotq_s32(c##r, w0, x);                                                          \
    d##r = vdotq_s32(d##r, w1, x);                                                          \
    e##r = vdotq_s32(e##r, w2, x);                                                          \
    f##r = vdotq_s32(f##r, w3, x); }
#define KEEP(r)                                                                             \
    vst1q_s32(sums + r * PANEL, c##r);                                                      \
    vst1q_s32(sums + r * PANEL + 4, d##r);                                                  \
    vst1q_s32(sums + r * PANEL + 8, e##r);                                                  \
    vst1q_s32(sums + r * PANEL + 12, f##r);
static __attribute__((noinline)) void tile(const bge_product *p, int row, int last, int panel, int32_t *sums) {
    const int8_t *w = p->matrix.codes + (size_t)panel * PANEL * p->inputs;
    const int32_t *start = p->matrix.sums + panel * PANEL;
    EACH_ROW(START)
    for (int i = 0; i < p->inputs; i += 4, w += 4 * PANEL) {
        const int8x16_t w0 = vld1q_s8(w), w1 = vld1q_s8(w + 16), w2 = vld1q_s8(w + 32), w3 = vld1q_s8(w + 48);
        EACH_ROW(STEP)
    }
    EACH_ROW(KEEP)
}

static void product(const bge_class *class, const bge_product *p, int row, int rows, int panel) {
    (void)class;
    int32_t sums[ROWS * PANEL] __attribute__((aligned(64)));
    for (int end = row + rows; row < end; row += ROWS) {
        int here = bge_least(ROWS, end - row);
        tile(p, row, here - 1, panel, sums);
        finish(p, row, here, panel, PANEL, sums);
    }
}

/* Loops of nothing but the products' instructions, as in kernels_avx2.c. */
static int64_t peak(int integer, int64_t rounds) {
    volatile int32_t sink;
    if (integer) {
        int8x16_t x = vdupq_n_s8(1);
        int32x4_t c[16];
        for (int j = 0; j < 16; j++) c[j] = vdupq_n_s32(j);
        for (int64_t i = 0; i < rounds; i++) {
#pragma GCC unroll 16
            for (int j = 0; j < 16; j++) c[j] = vdotq_s32(c[j], x, x);
        }
        for (int j = 1; j < 16; j++) c[0] = vaddq_s32(c[0], c[j]);
        sink = vgetq_lane_s32(c[0], 0);
        (void)sink;
        return rounds * 16 * 16;
    }
    vf x = v_set(1), c[16];
    for (int j = 0; j < 16; j++) c[j] = v_set((float)j);
    for (int64_t i = 0; i < rounds; i++) {
#pragma GCC unroll 16
        for (int j = 0; j < 16; j++) c[j] = v_fma(x, x, c[j]);
    }
    for (int j = 1; j < 16; j++) c[0] = v_add(c[0], c[j]);
    sink = (int32_t)v_sum(c[0]);
    (void)sink;
    return rounds * 16 * 4;
}

const bge_kernels bge_kernels_neon = {
    .name = "neon", .class = &bge_class_neon, .quantize = quantize, .norm = norm, .product = product, .attend = attend,
    .attention_bytes = attention_bytes, .dot = dot, .peak = peak,
};
